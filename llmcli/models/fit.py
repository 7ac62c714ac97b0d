"""Whether a model fits a machine, and how fast it may be: from its header and its size, before anything is loaded.

What it takes is computed by ``footprint``, as the engine does when it makes a context: at least, for one answer with a
certain context, which decides whether it fits; and at its peak, for each task as commands usually do it.

One token has to read all weights once, those of the experts that it does not use aside: their bytes divided by the
bandwidth of the memory, and a little for each layer, is the time that it takes at least, with a short context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from llmcli.models.footprint import (
    BATCHES,
    PAD_TOKENS,
    SHARE_OF_FREE,
    SPARE_SEQUENCES,
    USUAL_CONTEXT,
    WORKLOADS,
    ContextShape,
    KVSettings,
    PlainKV,
    Workload,
    cache_bytes,
    context_bytes,
    context_for,
    context_limit,
    process_bytes,
    repacked_bytes,
    room_bytes,
    small_context_bytes,
)
from llmcli.models.gguf import Header

STEP = PAD_TOKENS
"""Tokens by which a context is rounded up."""
_LAYER = 2e-4
"""Seconds of a token that a layer takes beside reading its weights: threads that wait for each other, small operations.

Measured on two cores with models of 135 and 270 million parameters, where it is half of the time; it hardly counts in
models of billions.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: bytes of memory that can be allocated (None: unknown), free bytes of each GPU that is used.

    ``bandwidth``: bytes a second that all threads together read from memory, None where it was not measured.
    ``repacked``: types of tensors that llama.cpp holds a second time here, see ``footprint.repacked_bytes``.
    """

    memory: int | None
    gpus: tuple[int, ...] = ()
    bandwidth: float | None = None
    repacked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model needs at ``context`` tokens on ``machine``; all in bytes.

    ``weights``; ``per_token`` of context, None where the header cannot tell; ``buffers`` to compute in, of which
    the shortest context needs ``least_buffers`` (None: all); ``process``: what the process takes beside these; ``read``: what one token reads of the weights, None where unknown; ``layers``: their
    number. ``known``: the header was read; without it all but the weights is missing, and what is needed is more.
    ``peaks``: what the whole process will take at most, by the task that it does.
    """

    weights: int
    per_token: int | None
    buffers: int
    context: int
    read: int | None
    machine: Machine
    layers: int = 0
    known: bool = True
    process: int = 0
    least_buffers: int | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)

    @property
    def cache(self) -> int:
        """The KV cache. States of recurrent layers do not grow with the context and are small: 0."""
        return (self.per_token or 0) * self.context

    @property
    def model(self) -> int:
        """Weights, cache and buffers: what may lie on a GPU."""
        return self.weights + self.cache + self.buffers

    @property
    def needed(self) -> int:
        """What has to be free for one answer with the whole context."""
        return self.model + self.process

    def peak(self, task: str = "chat") -> int:
        """Return what the process will take at most when it does a task."""
        return self.peaks.get(task, self.needed)

    @property
    def most(self) -> int:
        """What the process will take at most, whatever it does."""
        return max(self.peaks.values(), default=self.needed)

    @property
    def available(self) -> int | None:
        """Memory of the machine and of the GPUs together: what does not fit one of them is divided."""
        return None if self.machine.memory is None else self.machine.memory + sum(self.machine.gpus)

    @property
    def on_gpu(self) -> bool:
        """Whether all of it fits the GPUs."""
        return self.known and bool(self.machine.gpus) and self.model <= sum(self.machine.gpus)

    @property
    def fits(self) -> bool | None:
        """Whether it can be loaded; None where the system does not say how much memory is free, or the header is missing.

        Weights alone that are too large do not fit in any case.
        """
        if self.available is None:
            return self.on_gpu or None
        return (self.known or None) if self.needed <= self.available else False

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of one answer a second, about; None where it is not known, and on a GPU, whose memory is another.

        Of a model that is divided, what lies on a GPU is counted as read at once.
        """
        left = 0 if self.on_gpu else 1 - sum(self.machine.gpus) / self.model
        if not left or not self.read or not self.machine.bandwidth:
            return None
        return 1 / (left * (self.read / self.machine.bandwidth + self.layers * _LAYER))

    @property
    def longest(self) -> int:
        """The longest context that would fit, a multiple of ``STEP``; 0 where none does or the cache is not known."""
        if self.available is None or not self.per_token:
            return 0
        least = self.buffers if self.least_buffers is None else self.least_buffers
        growing = max(0, self.buffers - least) / max(1, self.context - STEP)  # bytes of buffers for a token
        room = self.available - self.weights - self.process - least + growing * STEP
        return max(0, int(room / (self.per_token + growing))) // STEP * STEP


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a model shall fit: the machine, asked for (more than once) when there is something to fetch, and a context.

    ``context`` in tokens, None for the usual; ``force``: fetch it all the same. ``obstacle`` says of a header why such
    a model cannot run here whatever it needs, "" where it can. ``choose`` says which settings of the KV cache the engine
    would take for a job, with so many bytes for its context.
    """

    machine: Callable[[], Machine]
    context: int | None = None
    kv_type: str = "f16"
    force: bool = False
    obstacle: Callable[[Header], str] = lambda _: ""
    choose: Callable[[Header, Workload, int], KVSettings] = lambda *_: PlainKV()

    def judge(self, header: Header | None, size: int) -> Fit:
        """Return what a model of ``size`` bytes needs."""
        context = usual_context(header, self.context)
        fit = estimate(header, size, context, self.machine(), kv_type=self.kv_type)
        if header is None:
            return fit
        return replace(fit, peaks={task: self._peak(header, fit, workload) for task, workload in WORKLOADS.items()})

    def _peak(self, header: Header, fit: Fit, workload: Workload) -> int:
        """Return the peak of a process that does a job, within the bounds that the engine keeps."""
        repacked = 0 if fit.machine.gpus else repacked_bytes(header, fit.machine.repacked)
        room = room_bytes(header, fit.weights, repacked) - small_context_bytes(header)
        free = None if fit.available is None else fit.available - fit.weights - fit.process
        if free is not None:
            room = min(room, int(SHARE_OF_FREE * free))
        context = self.context or context_limit(header, fit.weights, repacked, self.kv_type, free)
        if self.context and len(workload.prompts) == 1:  # a context that somebody asks for gets used
            workload = Workload((max(self.context, *workload.prompts),), workload.answers)
        workload = workload.within(context)
        shape, _ = context_for(workload.demand, self.choose(header, workload, room), header, room)
        return fit.weights + repacked + fit.process + context_bytes(header, shape)


def estimate(header: Header | None, size: int, context: int, machine: Machine, *, kv_type: str = "f16") -> Fit:
    """Return what a model of ``size`` bytes needs; ``header`` is its own, or that of another quantization of it.

    Without a header only the weights are known. The cache is an upper bound: see ``Header.attention_bytes_per_token``.
    """
    if header is None:
        return Fit(size, None, 0, context, None, machine, known=False)
    share = _read_share(header)
    shape = ContextShape(context, SPARE_SEQUENCES, BATCHES[-1], kv_type=kv_type)
    least = replace(shape, cells=STEP)
    return Fit(
        weights=size,
        per_token=header.attention_bytes_per_token(kv_type, kv_type),
        buffers=context_bytes(header, shape) - cache_bytes(header, context, kv_type),
        context=context,
        read=None if share is None else int(size * share),
        machine=machine,
        layers=header.block_count or 0,
        process=process_bytes(header),
        least_buffers=context_bytes(header, least) - cache_bytes(header, STEP, kv_type),
    )


def usual_context(header: Header | None, wanted: int | None) -> int:
    """Return the tokens of context to plan with: those ``wanted``, or the usual ones; no more than the model has."""
    return min(wanted or USUAL_CONTEXT, (header and header.context_length) or wanted or USUAL_CONTEXT)


def _read_share(header: Header) -> float | None:
    """Return which share of the weights one token reads; None where the header lists no tensors."""
    count, used = header.number("expert_count"), header.number("expert_used_count")
    active = min(1.0, used / count) if count and used else 1.0
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)  # the embeddings give the logits too
    read = 0.0
    for tensor in header.tensors:
        if tensor.name == "per_layer_token_embd.weight" or (tensor.name == "token_embd.weight" and not tied):
            continue  # one row of a table
        read += tensor.nbytes * (active if "_exps." in tensor.name else 1.0)
    return read / header.weights_bytes if header.weights_bytes else None
