"""Estimates whether a model fits a machine, and its speed: from its header and its size, before it is loaded.

``footprint`` computes the memory, as for the engine's contexts: the minimum, for one answer with a certain context,
which decides whether it fits; and the peak, for each task as commands usually run it.

One token reads all weights once, except those of unused experts: their bytes divided by the bandwidth of the memory,
plus an overhead for each layer, is the minimum time of a token with a short context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from llmcli.errors import ModelTooLarge
from llmcli.fast_dataclass import field, frozen, replace
from llmcli.models.footprint import (
    BATCH_SIZES,
    DEFAULT_CONTEXT_TOKENS,
    FREE_MEMORY_SHARE,
    PAD_TOKENS,
    SPARE_SEQUENCES,
    WORKLOADS,
    ContextShape,
    DefaultKVSettings,
    KVSettings,
    TaskWorkload,
    context_budget_bytes,
    context_bytes,
    duplicated_bytes,
    fit_context,
    kv_cache_bytes,
    max_sequence_context,
    process_bytes,
    small_context_bytes,
    state_batch_tokens,
    state_step_tokens,
)
from llmcli.models.gguf.header import Header

CONTEXT_STEP_TOKENS = PAD_TOKENS
"""Multiple of tokens to which a context is rounded up."""
_LAYER_OVERHEAD_S = 2e-4
"""Seconds that a layer adds to a token beside reading its weights: synchronization of threads, small operations.

Measured on two cores with models of 135 and 270 million parameters, where it is half of the time; for models of
billions it is negligible.
"""


@frozen
class MachineResources:
    """The machine: bytes of memory that can be allocated (None: unknown), free bytes of each GPU that is used.

    ``memory_bandwidth``: bytes a second that all threads together read from memory, None if not measured.
    ``repacked_types`` and ``releases_pages``: see ``footprint.duplicated_bytes``.
    """

    free_bytes: int | None
    gpu_free_bytes: tuple[int, ...] = ()
    memory_bandwidth: float | None = None
    repacked_types: frozenset[str] = frozenset()
    releases_pages: bool = False


@frozen
class MemoryEstimate:
    """The memory that a model needs at ``context_tokens`` on ``machine``.

    ``kv_bytes_per_token`` of context, None if the header cannot tell; ``buffer_bytes`` of compute buffers, of which the
    shortest context needs ``min_buffer_bytes`` (None: all); ``process_bytes``: what the process takes beside these;
    ``read_bytes_per_token``: bytes of weights that one token reads, None if unknown. ``header_known``: the header was
    read; without it only the weights are known, and more is needed. ``peak_bytes_by_task``: the peak of the process.
    """

    weight_bytes: int
    kv_bytes_per_token: int | None
    buffer_bytes: int
    context_tokens: int
    read_bytes_per_token: int | None
    machine: MachineResources
    layer_count: int = 0
    header_known: bool = True
    process_bytes: int = 0
    min_buffer_bytes: int | None = None
    peak_bytes_by_task: Mapping[str, int] = field(default_factory=dict)

    @property
    def kv_cache_bytes(self) -> int:
        """The KV cache. States of recurrent layers do not grow with the context and are small: 0."""
        return (self.kv_bytes_per_token or 0) * self.context_tokens

    @property
    def model_bytes(self) -> int:
        """Weights, cache and buffers, which may be on a GPU."""
        return self.weight_bytes + self.kv_cache_bytes + self.buffer_bytes

    @property
    def needed_bytes(self) -> int:
        """Bytes that must be free for one answer with the whole context."""
        return self.model_bytes + self.process_bytes

    def peak_bytes(self, task: str = "chat") -> int:
        """Return the peak of the process in a task."""
        return self.peak_bytes_by_task.get(task, self.needed_bytes)

    @property
    def max_peak_bytes(self) -> int:
        """The peak of the process in any task."""
        return max(self.peak_bytes_by_task.values(), default=self.needed_bytes)

    @property
    def available_bytes(self) -> int | None:
        """Memory of the machine and of the GPUs together: a model that does not fit one of them is split."""
        return None if self.machine.free_bytes is None else self.machine.free_bytes + sum(self.machine.gpu_free_bytes)

    @property
    def fits_on_gpu(self) -> bool:
        """Whether all of it fits the GPUs."""
        return (
            self.header_known
            and bool(self.machine.gpu_free_bytes)
            and self.model_bytes <= sum(self.machine.gpu_free_bytes)
        )

    @property
    def fits(self) -> bool | None:
        """Whether it can be loaded; None if the free memory is unknown, or the header is missing.

        Weights that are too large alone never fit.
        """
        if self.available_bytes is None:
            return self.fits_on_gpu or None
        return (self.header_known or None) if self.needed_bytes <= self.available_bytes else False

    @property
    def tokens_per_second(self) -> float | None:
        """Approximate tokens a second of one answer; None if unknown, and on a GPU, which has its own memory.

        The part of a split model that is on a GPU is assumed to take no time.
        """
        left = 0 if self.fits_on_gpu else 1 - sum(self.machine.gpu_free_bytes) / self.model_bytes
        if not left or not self.read_bytes_per_token or not self.machine.memory_bandwidth:
            return None
        return 1 / (
            left * (self.read_bytes_per_token / self.machine.memory_bandwidth + self.layer_count * _LAYER_OVERHEAD_S)
        )

    @property
    def max_context_tokens(self) -> int:
        """The longest context that would fit, a multiple of ``CONTEXT_STEP_TOKENS``; 0 for none or an unknown cache."""
        if self.available_bytes is None or not self.kv_bytes_per_token:
            return 0
        least = self.buffer_bytes if self.min_buffer_bytes is None else self.min_buffer_bytes
        tokens = max(1, self.context_tokens - CONTEXT_STEP_TOKENS)
        buffer_per_token = max(0, self.buffer_bytes - least) / tokens
        free: float = self.available_bytes - self.weight_bytes - self.process_bytes - least
        free += buffer_per_token * CONTEXT_STEP_TOKENS
        return (
            max(0, int(free / (self.kv_bytes_per_token + buffer_per_token)))
            // CONTEXT_STEP_TOKENS
            * CONTEXT_STEP_TOKENS
        )


@frozen
class FitPolicy:
    """What a model has to fit: the machine, measured (more than once) before a download, and a context.

    ``context_tokens``: None for the default; ``force``: download it although it does not fit. ``unsupported_reason``
    returns why a model with a header cannot run here at all, "" if it can. ``choose_kv_settings`` returns the settings
    of the KV cache that the engine would choose for a job, given the bytes for its context.
    """

    measure_machine: Callable[[], MachineResources]
    context_tokens: int | None = None
    kv_type: str = "f16"
    force: bool = False
    unsupported_reason: Callable[[Header], str] = lambda _: ""
    choose_kv_settings: Callable[[Header, TaskWorkload, int], KVSettings] = lambda *_: DefaultKVSettings()

    def estimate(self, header: Header | None, size: int) -> MemoryEstimate:
        """Return what a model of ``size`` bytes needs."""
        context = planned_context(header, self.context_tokens)
        fit = estimate_memory(header, size, context, self.measure_machine(), kv_type=self.kv_type)
        return fit if header is None else replace(fit, peak_bytes_by_task=_TaskPeaks(self, header, fit))

    def compute_peak_bytes(self, header: Header, fit: MemoryEstimate, workload: TaskWorkload) -> int:
        """Return the peak of a process that does a job, within the limits that the engine keeps."""
        machine = fit.machine
        duplicated = duplicated_bytes(header, machine.repacked_types, released=machine.releases_pages)
        duplicated = 0 if machine.gpu_free_bytes else duplicated
        room = context_budget_bytes(header, fit.weight_bytes, duplicated) - small_context_bytes(header)
        free = None if fit.available_bytes is None else fit.available_bytes - fit.weight_bytes - fit.process_bytes
        if free is not None:
            room = min(room, int(FREE_MEMORY_SHARE * free))
        context = self.context_tokens or max_sequence_context(header, fit.weight_bytes, duplicated, self.kv_type, free)
        batch = BATCH_SIZES[0]
        layers = workload.count_state_layers(header)
        if workload.hidden_states and not layers:
            batch = state_batch_tokens(header.vocabulary_size or 0, free)
        if self.context_tokens and len(workload.prompt_tokens) == 1:  # a requested context is used
            workload = TaskWorkload((max(self.context_tokens, *workload.prompt_tokens),), workload.answer_tokens)
        workload = workload.split_to_context(context)
        demand, settings = workload.peak_demand, self.choose_kv_settings(header, workload, room)
        shape, count = fit_context(
            demand, settings, header, room, batch, hidden_states=workload.hidden_states, state_layers=layers
        )
        if workload.hidden_states:  # memory for the tokens that no step takes is allocated, but never touched
            step = state_step_tokens(demand.first_sequences(count), shape.batch, unified=shape.unified)
            shape = replace(shape, batch=step)
        return fit.weight_bytes + duplicated + fit.process_bytes + context_bytes(header, shape)


class _TaskPeaks(Mapping[str, int]):
    """The peaks of ``WORKLOADS`` by task, each computed when it is asked for: most callers show one or none."""

    def __init__(self, policy: FitPolicy, header: Header, fit: MemoryEstimate) -> None:
        self._policy, self._header, self._fit = policy, header, fit
        self._known: dict[str, int] = {}

    def __getitem__(self, task: str) -> int:
        if task not in self._known:
            self._known[task] = self._policy.compute_peak_bytes(self._header, self._fit, WORKLOADS[task])
        return self._known[task]

    def __iter__(self) -> Iterator[str]:
        return iter(WORKLOADS)

    def __len__(self) -> int:
        return len(WORKLOADS)


def estimate_memory(
    header: Header | None, size: int, context: int, machine: MachineResources, *, kv_type: str = "f16"
) -> MemoryEstimate:
    """Return what a model of ``size`` bytes needs; ``header`` is its own, or that of another quantization of it.

    Without a header only the weights are known. The cache is an upper bound: see ``Header.attention_bytes_per_token``.
    """
    if header is None:
        return MemoryEstimate(size, None, 0, context, None, machine, header_known=False)
    share = _active_weight_share(header)
    shape = ContextShape(context, SPARE_SEQUENCES, BATCH_SIZES[-1], kv_type=kv_type)
    least = replace(shape, cells=CONTEXT_STEP_TOKENS)
    return MemoryEstimate(
        weight_bytes=size,
        kv_bytes_per_token=header.attention_bytes_per_token(kv_type, kv_type),
        buffer_bytes=context_bytes(header, shape) - kv_cache_bytes(header, context, kv_type),
        context_tokens=context,
        read_bytes_per_token=None if share is None else int(size * share),
        machine=machine,
        layer_count=header.block_count or 0,
        process_bytes=process_bytes(header),
        min_buffer_bytes=context_bytes(header, least) - kv_cache_bytes(header, CONTEXT_STEP_TOKENS, kv_type),
    )


def planned_context(header: Header | None, wanted: int | None) -> int:
    """Return the tokens of context to plan with: those ``wanted``, or the usual ones; at most the model's own."""
    return min(wanted or DEFAULT_CONTEXT_TOKENS, (header and header.context_length) or wanted or DEFAULT_CONTEXT_TOKENS)


def _active_weight_share(header: Header) -> float | None:
    """Return which share of the weights one token reads; None if the header lists no tensors."""
    count, used = header.arch_integer("expert_count"), header.arch_integer("expert_used_count")
    active = min(1.0, used / count) if count and used else 1.0
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)  # the embeddings also give the logits
    read = 0.0
    for tensor in header.tensors:
        if tensor.name == "per_layer_token_embd.weight" or (tensor.name == "token_embd.weight" and not tied):
            continue  # one row of a table
        read += tensor.nbytes * (active if "_exps." in tensor.name else 1.0)
    return read / header.weights_bytes if header.weights_bytes else None


def does_not_fit_error(name: str, fit: MemoryEstimate, smaller_variant: str = "") -> ModelTooLarge:
    """Return the error for a model that does not fit."""
    return ModelTooLarge(
        name,
        needed=fit.needed_bytes,
        available=fit.available_bytes,
        weights=fit.weight_bytes,
        per_token=fit.kv_bytes_per_token,
        context=fit.context_tokens,
        max_context=fit.max_context_tokens,
        smaller_variant=smaller_variant,
    )
