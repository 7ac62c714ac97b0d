"""Whether a model fits a machine, and how fast it may be: from its header and its size, before anything is loaded.

What a loaded model takes is its weights, the KV cache, and the buffers that hold what the layers compute. The engine
keeps the last small: logits of 64 outputs at most, and the widest layer for the 512 tokens of a prompt that are
evaluated at once (measured with a model of 135 million parameters: 98 MB of buffers with room for 512 outputs, 21 MB
with room for 64; the formula here gives 20 MB).

One token has to read all weights once, those of the experts that it does not use aside: their bytes divided by the
bandwidth of the memory, and a little for each layer, is the time that it takes at least, with a short context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmcli.models.gguf import Header

STEP = 256
"""Tokens by which llama.cpp rounds a context up."""
USUAL_CONTEXT = 4096
"""Tokens of context that are planned with when nobody says how many."""
_OUTPUTS, _BATCH, _FLOAT = 64, 512, 4
_LAYER = 2e-4
"""Seconds of a token that a layer takes beside reading its weights: threads that wait for each other, small operations.

Measured on two cores with models of 135 and 270 million parameters, where it is half of the time; it hardly counts in
models of billions.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: bytes of memory that can be allocated (None: unknown), free bytes of each GPU that is used.

    ``bandwidth``: bytes a second that all threads together read from memory, None where it was not measured.
    """

    memory: int | None
    gpus: tuple[int, ...] = ()
    bandwidth: float | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model needs at ``context`` tokens on ``machine``; all in bytes.

    ``weights``; ``per_token`` of context, None where the header cannot tell; ``buffers`` to compute in; ``read``: what
    one token reads of the weights, None where unknown; ``layers``: their number. ``known``: the header was read; without
    it cache and buffers are missing, and what is needed is more.
    """

    weights: int
    per_token: int | None
    buffers: int
    context: int
    read: int | None
    machine: Machine
    layers: int = 0
    known: bool = True

    @property
    def cache(self) -> int:
        """The KV cache. States of recurrent layers do not grow with the context and are small: 0."""
        return (self.per_token or 0) * self.context

    @property
    def needed(self) -> int:
        """Weights, cache and buffers."""
        return self.weights + self.cache + self.buffers

    @property
    def available(self) -> int | None:
        """Memory of the machine and of the GPUs together: what does not fit one of them is divided."""
        return None if self.machine.memory is None else self.machine.memory + sum(self.machine.gpus)

    @property
    def on_gpu(self) -> bool:
        """Whether all of it fits the GPUs."""
        return self.known and bool(self.machine.gpus) and self.needed <= sum(self.machine.gpus)

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
        left = 0 if self.on_gpu else 1 - sum(self.machine.gpus) / self.needed
        if not left or not self.read or not self.machine.bandwidth:
            return None
        return 1 / (left * (self.read / self.machine.bandwidth + self.layers * _LAYER))

    @property
    def longest(self) -> int:
        """The longest context that would fit, a multiple of ``STEP``; 0 where none does or the cache is not known."""
        if self.available is None or not self.per_token:
            return 0
        return max(0, self.available - self.weights - self.buffers) // self.per_token // STEP * STEP


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a model shall fit: the machine, asked for (more than once) when there is something to fetch, and a context.

    ``context`` in tokens, None for the usual; ``force``: fetch it all the same. ``obstacle`` says of a header why such
    a model cannot run here whatever it needs, "" where it can.
    """

    machine: Callable[[], Machine]
    context: int | None = None
    kv_type: str = "f16"
    force: bool = False
    obstacle: Callable[[Header], str] = lambda _: ""

    def judge(self, header: Header | None, size: int) -> Fit:
        """Return what a model of ``size`` bytes needs."""
        context = usual_context(header, self.context)
        return estimate(header, size, context, self.machine(), kv_type=self.kv_type)


def estimate(header: Header | None, size: int, context: int, machine: Machine, *, kv_type: str = "f16") -> Fit:
    """Return what a model of ``size`` bytes needs; ``header`` is its own, or that of another quantization of it.

    Without a header only the weights are known. The cache is an upper bound: see ``Header.attention_bytes_per_token``.
    """
    if header is None:
        return Fit(size, None, 0, context, None, machine, known=False)
    share = _read_share(header)
    return Fit(
        weights=size,
        per_token=header.attention_bytes_per_token(kv_type, kv_type),
        buffers=compute_buffers(header),
        context=context,
        read=None if share is None else int(size * share),
        machine=machine,
        layers=header.block_count or 0,
    )


def usual_context(header: Header | None, wanted: int | None) -> int:
    """Return the tokens of context to plan with: those ``wanted``, or the usual ones; no more than the model has."""
    return min(wanted or USUAL_CONTEXT, (header and header.context_length) or wanted or USUAL_CONTEXT)


def compute_buffers(header: Header) -> int:
    """Return the bytes that evaluating a full batch takes beside weights and cache, about."""
    wide = _largest(header.per_layer("feed_forward_length"))
    experts = _largest(header.per_layer("expert_feed_forward_length")) * (header.number("expert_used_count") or 1)
    layer = 2 * max(wide, experts) + (header.number("embedding_length") or 0)  # gate, up, and what goes around
    return _FLOAT * (_OUTPUTS * (header.vocabulary or 0) + _BATCH * layer)


def _largest(number: int | Sequence[int] | None) -> int:
    return max(number, default=0) if isinstance(number, Sequence) else number or 0


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
