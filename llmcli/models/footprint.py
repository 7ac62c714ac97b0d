"""The memory that a running model takes, computed from its header and the settings of its context.

All parts of llm use these formulas: ``llm models`` shows their results, the engine sizes its contexts with them
(``fit_context``), and ``benchmarks/memory.py`` compares them with the peak of a real process.

The memory of a process consists of a fixed part (``process_bytes``), the weights (their file is mapped into memory;
tensors that llama.cpp repacks for the processor are in memory twice, unless the engine releases the mapped pages), and
for each context the KV cache, recurrent states, logits, and the compute buffer. The compute buffer is as large as the
most demanding part of llama.cpp's graph, for one ubatch: the logits, the feed-forward layer, or attention, which
without flash attention needs one number for each pair of a token and a cell of every head. Checked against "compute
buffer size" in llama.cpp's log for models of 135 million parameters and for tiny ones of every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from llmcli.fast_dataclass import frozen, replace
from llmcli.machine_needs import LABELS, QUESTION, SUMMARY, TRANSLATION, UNKNOWN_WORK, MachineNeeds
from llmcli.models.gguf.header import Header, TensorInfo

PAD_TOKENS = 256
"""Multiple of tokens to which llama.cpp rounds a context up."""
LLAMA_MAX_SEQ = 256
"""llama.cpp's own limit on sequence ids."""
DEFAULT_CONTEXT_TOKENS = 4096
"""Tokens of context for which memory is planned by default."""
FIRST_ANSWER_TOKENS = 512
"""Tokens of an answer that the first context has cells for; the context grows when an answer is longer."""
DEFAULT_CONCURRENCY = 16
"""Sequences that run at once, unless more prove to be faster."""
MAX_CONCURRENCY = 64
BATCH_SIZES = (512, 256, 128)
"""Tokens of one evaluation, the preferred numbers first. On two cores prompts of the starter run as fast with 128 as
with 512, and the compute buffer, which grows with the batch, is a quarter as large."""
MAX_DRAFT_CONTEXT_TOKENS = 2048
"""Tokens of text, from its end, that a draft model sees at most: farther ones hardly change what follows."""
MAX_OUTPUTS = 64
"""Logits of one evaluation, unless more sequences run."""
_OUTPUT_DIVISOR = 8
"""Tokens of a batch for each that may have logits. The logits of 64 tokens of the starter take 12.6 MB, as much as the
keys and values of 545 tokens."""
EMBEDDINGS = "token_embd.weight"
SPARE_SEQUENCES = 2
"""Number of sequence ids for cached prefixes if each id has its own buffers."""

FREE_MEMORY_SHARE = 0.9
"""The fraction of the free memory that contexts may take; the rest is left to other processes."""
PROCESS_BYTES = 56_000_000
"""Resident memory of a process without weights, vocabulary and contexts: Python, the libraries, llama.cpp. Measured: 46
MB of the worker with a model of 0.1 MB, 58 MB with one of 92 MB."""
_BYTES_PER_VOCABULARY_TOKEN = 260
"""Bytes that llama.cpp and the tokenizer keep for each token of the vocabulary (measured: 49,152 tokens take 12.8
MB)."""
_MAPPED_AGAIN_SHARE = 0.5
"""The share of released pages that come back with the small tensors between them, since the system maps pages in
groups. Measured with 30 layers of 576 numbers on Linux 6.18: 0.60 to 0.65 where the page cache has large folios (ext4);
0.05 in groups of 64 KB."""
_SMALL_WEIGHTS_BYTES = 1_000_000_000
_SMALL_WEIGHTS_FACTOR, _LARGE_WEIGHTS_FACTOR = 4, 2
_PLANNED_SHARE = 0.975
"""The share of a process's limit that is planned; the rest is for what the formulas leave out. Measured: a translation
of 40 paragraphs takes 1.03 times what is planned."""
MIN_PROCESS_LIMIT_BYTES = 256_000_000
"""The smallest limit of a whole process. The process takes 56 MB of it and the tables of a vocabulary up to 70 MB
(262,144 tokens), so that at least 130 MB remain for weights and contexts of a tiny model."""
PREFILL_STEP_TOKENS = 160
"""Tokens of short prompts that a processor evaluates in one step: more do not use its kernels better.

In one buffer every token attends to the cells of all sequences. Measured with 21 tokens each after 250 shared ones:
13.3 sequences a second with 140 to 200 tokens a step, 10.7 with 340.
"""
_MAX_STATE_BATCH_TOKENS = 256
"""Tokens of an evaluation with hidden states: about as many as a step takes of short prompts."""
_MAX_STATE_LOGIT_BYTES = 1 << 28
"""Limit of the logits that llama.cpp allocates for all tokens of a batch with states, twice, although it computes
few."""
_STATE_LOGIT_SHARE = 1 / 8
"""The part of the free memory that they may take altogether."""
_STATE_BATCH_STEP = 32
_SMALL_CONTEXT_TOKENS = 512
_MIN_IDLE_STATE_BYTES, _IDLE_STATE_DIVISOR = 16_000_000, 8
_FLOAT_BYTES, _HALF_BYTES = 4, 2
_FLASH_FLOATS, _PLAIN_FLOATS, _RECURRENT_FLOATS = 12, 6, 16  # numbers per token, as multiples of the embedding's length


class KVSettings(Protocol):
    """The layout of a KV cache: one buffer or one for each sequence, which kernel, which type."""

    @property
    def unified(self) -> bool: ...
    @property
    def flash_attention(self) -> bool: ...
    @property
    def kv_type(self) -> str: ...


@frozen
class DefaultKVSettings:
    """llama.cpp's own settings: one buffer, flash attention."""

    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"


@frozen
class ContextShape:
    """The properties of a context that determine how much memory it takes.

    ``cells``: tokens that it holds, of all sequences together if ``unified``, otherwise of each; ``sequences``: ids;
    ``batch``: tokens of one evaluation; ``hidden_states``: it gives a state for each of them, after each of so many
    ``state_layers`` before the last one, or else after that.
    """

    cells: int
    sequences: int
    batch: int = BATCH_SIZES[0]
    unified: bool = True
    flash_attention: bool = True
    kv_type: str = "f16"
    hidden_states: bool = False
    state_layers: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that the cache holds of all sequences together."""
        return self.cells if self.unified else self.cells * self.sequences


@frozen
class ContextDemand:
    """The sequences to run at once: tokens of each with its answer, in the order of service.

    ``shared_prefix_tokens``: the common prefix of all; ``forks``: sequences that will continue each one.
    ``concurrency``: the most that may run at once.
    """

    sequence_tokens: tuple[int, ...]
    shared_prefix_tokens: int = 0
    forks: tuple[int, ...] = ()
    concurrency: int = DEFAULT_CONCURRENCY

    def first_sequences(self, count: int) -> ContextDemand:
        """Return the demand of the first ``count`` sequences only."""
        return replace(self, sequence_tokens=self.sequence_tokens[:count], forks=self.forks[:count])

    def cell_count(self, *, unified: bool) -> int:
        """Return the cells of a buffer: of one for all, which holds the common prefix once, or of one for each."""
        cells = (
            sum(self.sequence_tokens) - self.shared_prefix_tokens * (len(self.sequence_tokens) - 1)
            if unified
            else max(self.sequence_tokens)
        )
        return -(-cells // PAD_TOKENS) * PAD_TOKENS

    def sequence_id_count(self, spare: int, *, per_sequence_buffers: bool) -> int:
        """Return the number of ids: if they cost memory, one for each sequence or its forks, and ``spare`` ones."""
        if not per_sequence_buffers:
            return min(2 * self.concurrency, LLAMA_MAX_SEQ)
        grown = min(self.concurrency, sum(self.forks))
        owners = sum(count > 0 for count in self.forks)
        return min(max(len(self.sequence_tokens), grown) + owners + spare, LLAMA_MAX_SEQ)


def fit_context(
    demand: ContextDemand,
    cache: KVSettings,
    header: Header,
    max_bytes: int | None,
    batch: int = BATCH_SIZES[0],
    *,
    hidden_states: bool = False,
    state_layers: int = 0,
) -> tuple[ContextShape, int]:
    """Return the context for as many sequences of ``demand`` as fit ``max_bytes`` (None: no limit), and their number.

    At least one, whatever it takes: the caller has to find out whether that can be allocated. Smaller batches (than
    ``batch`` tokens) and fewer spare ids are preferred to fewer sequences.
    """
    per_sequence_buffers = header.recurrent or not cache.unified

    def shape(count: int, batch: int, spare: int) -> ContextShape:
        part = demand.first_sequences(count)
        return ContextShape(
            part.cell_count(unified=cache.unified),
            part.sequence_id_count(spare, per_sequence_buffers=per_sequence_buffers),
            batch,
            cache.unified,
            cache.flash_attention,
            cache.kv_type,
            hidden_states,
            state_layers,
        )

    batches = [batch, *(size for size in BATCH_SIZES if size < batch)]
    spares = (SPARE_SEQUENCES, 1) if per_sequence_buffers else (SPARE_SEQUENCES,)

    def fitted(count: int) -> ContextShape | None:
        shapes = (shape(count, size, spare) for spare in spares for size in batches)
        return next((each for each in shapes if max_bytes is None or context_bytes(header, each) <= max_bytes), None)

    count = len(demand.sequence_tokens)
    if best := fitted(count):
        return best, count
    low, high = 1, max(1, count - 1)
    while low < high:  # the most sequences that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fitted(middle) else (low, middle - 1)
    return fitted(low) or shape(low, batches[-1], spares[-1]), low


def context_bytes(header: Header, shape: ContextShape) -> int:
    """Return the approximate bytes of a context: KV cache, recurrent states, logits, hidden states, compute buffer.

    With the states of the last layer, llama.cpp clears room for the logits of all tokens of a batch, whether they are
    computed or not.
    """
    states = _recurrent_state_bytes(header) * shape.sequences
    outputs = min(shape.sequences, MAX_OUTPUTS)
    if shape.hidden_states:
        outputs = outputs if shape.state_layers else max(outputs, shape.batch)
        width = max(1, shape.state_layers) * (header.arch_integer("embedding_length") or 0)
        states += _FLOAT_BYTES * width * (shape.tokens + shape.batch)
    logits = _FLOAT_BYTES * (header.vocabulary_size or 0) * outputs
    return kv_cache_bytes(header, shape.tokens, shape.kv_type) + states + logits + compute_buffer_bytes(header, shape)


def max_outputs(batch: int, sequences: int) -> int:
    """Return how many tokens of a batch may have logits, for which llama.cpp reserves memory: fewer in small batches.

    The scheduler keeps to it. Fewer than sequences would fail an assertion of llama.cpp.
    """
    return max(sequences, min(MAX_OUTPUTS, batch // _OUTPUT_DIVISOR))


def state_batch_tokens(vocabulary_size: int, available_bytes: int | None) -> int:
    """Return the tokens of an evaluation with hidden states: fewer for a large vocabulary (``hidden_state_bytes``).

    ``available_bytes``: the free memory, None if unknown.
    """
    limit = _MAX_STATE_LOGIT_BYTES
    if available_bytes is not None:
        limit = min(limit, int(_STATE_LOGIT_SHARE * available_bytes) // 2)
    tokens = limit // _FLOAT_BYTES // max(1, vocabulary_size) // _STATE_BATCH_STEP * _STATE_BATCH_STEP
    return max(MAX_OUTPUTS, min(_MAX_STATE_BATCH_TOKENS, tokens))


def state_step_tokens(demand: ContextDemand, batch: int, *, unified: bool) -> int:
    """Return how many tokens the largest evaluation with hidden states has, in batches of ``batch`` tokens at most.

    In one buffer no sequence joins while ``PREFILL_STEP_TOKENS`` wait to be evaluated.
    """
    longest, together = max(demand.sequence_tokens), sum(demand.sequence_tokens)
    if unified:
        together = min(together, PREFILL_STEP_TOKENS + longest - demand.shared_prefix_tokens)
    return min(batch, max(longest, together))


def kv_cache_bytes(header: Header, tokens: int, kv_type: str) -> int:
    """Return the bytes of a KV cache of that many tokens; an upper bound, see ``Header.attention_bytes_per_token``."""
    return (header.attention_bytes_per_token(kv_type, kv_type) or 0) * tokens


def _recurrent_state_bytes(header: Header) -> int:
    """Return the bytes of the states that recurrent layers keep for a sequence of any length; 0 without such layers.

    Sizes as in llama.cpp's ``llama_hparams::n_embd_r`` and ``n_embd_s``; every layer counts that has no attention of
    its own in the header, so it is an upper bound.
    """
    number = header.arch_integer
    embedding, layers = number("embedding_length") or 0, header.block_count or 0
    heads = header.kv_heads
    if isinstance(heads, tuple):
        layers = sum(not count for count in heads)
    state, inner = number("ssm.state_size") or 0, number("ssm.inner_size") or 0
    kernel, groups = number("ssm.conv_kernel") or 0, number("ssm.group_count") or 0
    floats = state * inner + max(0, kernel - 1) * (inner + 2 * groups * state)
    floats += max(0, (number("shortconv.l_cache") or 0) - 1) * embedding
    if number("wkv.head_size"):
        floats += (number("wkv.head_size") or 0) * embedding + (number("token_shift_count") or 2) * embedding
    return _FLOAT_BYTES * layers * floats


def compute_buffer_bytes(header: Header, shape: ContextShape) -> int:
    """Return the approximate bytes of llama.cpp's compute buffer."""
    embedding = header.arch_integer("embedding_length") or 0
    heads = max_over_layers(header.arch_integer_per_layer("attention.head_count"))
    query = heads * (header.arch_integer("attention.key_length") or 0)
    batch = min(shape.batch, shape.cells)
    masks = 2 if header.arch_integer("attention.sliding_window") else 1
    row = max(embedding, query)
    pairs = batch * shape.cells if header.attention_bytes_per_token() else 0
    if shape.flash_attention:
        floats, scores = _FLASH_FLOATS * row, _HALF_BYTES * masks * pairs
    else:
        floats, scores = _PLAIN_FLOATS * row, _FLOAT_BYTES * (heads + masks) * pairs
    if header.recurrent:
        floats = max(floats, _RECURRENT_FLOATS * embedding)
    wide = max_over_layers(header.arch_integer_per_layer("feed_forward_length"))
    experts = max_over_layers(header.arch_integer_per_layer("expert_feed_forward_length")) * (
        header.arch_integer("expert_used_count") or 1
    )
    layer = _FLOAT_BYTES * batch * (2 * max(wide, experts) + 3 * embedding)  # gate, up, and the residual stream
    logits = _FLOAT_BYTES * max_outputs(batch, shape.sequences) * (header.vocabulary_size or 0)
    return max(_FLOAT_BYTES * batch * floats + scores, layer, logits)


def process_bytes(header: Header) -> int:
    """Return the bytes that a process takes besides weights and contexts."""
    return PROCESS_BYTES + _BYTES_PER_VOCABULARY_TOKEN * (header.vocabulary_size or 0)


def repacked_tensors(header: Header, types: frozenset[str]) -> list[TensorInfo]:
    """Return the tensors of these ``types`` that llama.cpp repacks, and thus stores again, for the processor."""
    if header.recurrent:  # the engine disables repacking for these
        return []
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    return [
        tensor
        for tensor in header.tensors
        if tensor.type in types and len(tensor.shape) > 1 and (tied or tensor.name != EMBEDDINGS)
    ]


def duplicated_bytes(header: Header, types: frozenset[str], *, released: bool) -> int:
    """Return the bytes of weights that are in memory twice: repacked, and in the pages of the mapped file.

    ``types``: as for ``repacked_tensors``. ``released``: the engine releases the pages that nothing reads again.
    Embeddings that are also the output's weights remain, and a share of the rest.
    """
    share = _MAPPED_AGAIN_SHARE if released else 1.0
    return int(sum(t.nbytes * (1.0 if t.name == EMBEDDINGS else share) for t in repacked_tensors(header, types)))


def context_budget_bytes(header: Header, weights: int, duplicated: int) -> int:
    """Return the bytes that all contexts of a process may take together by default, for that many bytes of weights.

    Negative if the process without a context already exceeds its limit.
    """
    return int(_PLANNED_SHARE * process_limit_bytes(weights)) - process_bytes(header) - weights - duplicated


def small_context_bytes(header: Header) -> int:
    """Return the bytes of a context for one short answer, which interactive and bulk work leave to each other."""
    return context_bytes(header, ContextShape(_SMALL_CONTEXT_TOKENS, SPARE_SEQUENCES, BATCH_SIZES[-1]))


def max_sequence_context(header: Header, weights: int, duplicated: int, kv_type: str, free: int | None) -> int:
    """Return the tokens of context that one sequence may have by default.

    At most those of the model. Below 1 GB of weights, the limit of the process determines the number; above, what fits
    into ``free`` bytes (None: unknown) with a cache of this type. At least ``DEFAULT_CONTEXT_TOKENS``.
    """
    most = header.context_length or DEFAULT_CONTEXT_TOKENS
    budgets = [] if free is None else [int(FREE_MEMORY_SHARE * free)]
    if weights < _SMALL_WEIGHTS_BYTES:
        budgets.append(context_budget_bytes(header, weights, duplicated) - small_context_bytes(header))
    longest = max_context_tokens(header, kv_type, min(budgets)) if budgets else most
    return min(most, max(DEFAULT_CONTEXT_TOKENS, longest))


def process_limit_bytes(weights: int) -> int:
    """Return the bytes that a whole process may take by default, for ``weights`` bytes: 4 times as many below 1 GB.

    Above that, 4 GB or twice the weights, whichever is more. Never less than ``MIN_PROCESS_LIMIT_BYTES``.
    """
    if weights < _SMALL_WEIGHTS_BYTES:
        return max(_SMALL_WEIGHTS_FACTOR * weights, MIN_PROCESS_LIMIT_BYTES)
    return max(_SMALL_WEIGHTS_FACTOR * _SMALL_WEIGHTS_BYTES, _LARGE_WEIGHTS_FACTOR * weights)


def idle_state_bytes(weights: int) -> int:
    """Return the bytes of states that an idle engine keeps, so that the next answer can reuse them."""
    return max(_MIN_IDLE_STATE_BYTES, weights // _IDLE_STATE_DIVISOR)


def max_context_tokens(header: Header, kv_type: str, max_bytes: int) -> int:
    """Return the most tokens of context of one sequence that fit ``max_bytes``, a multiple of 256; 0 if none fit."""
    per_token = header.attention_bytes_per_token(kv_type, kv_type)
    if not per_token:
        return header.context_length or 0
    low, high = 0, max_bytes // per_token // PAD_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        shape = ContextShape(middle * PAD_TOKENS, SPARE_SEQUENCES, BATCH_SIZES[-1], kv_type=kv_type)
        low, high = (middle, high) if context_bytes(header, shape) <= max_bytes else (low, middle - 1)
    return low * PAD_TOKENS


def max_over_layers(number: int | Sequence[int] | None) -> int:
    """Return a number, or the largest of one for each layer; 0 for None."""
    return max(number, default=0) if isinstance(number, Sequence) else number or 0


@frozen
class TaskWorkload:
    """A typical job of a task: tokens of each prompt and of its answer, and of the common prefix.

    ``hidden_states``: it asks for the states of its prompts, after one layer before the last if that can be read, and
    generates nothing. ``part_tokens``: prompt and answer of each part of a text that does not fit the context, None for
    parts that are as long as possible. ``needs``: those of the commands that do it.
    """

    prompt_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    shared_prefix_tokens: int = 0
    hidden_states: bool = False
    part_tokens: tuple[int, int] | None = None
    needs: MachineNeeds = UNKNOWN_WORK

    def count_state_layers(self, header: Header) -> int:
        """Return of how many layers before the last one it keeps the states."""
        return int(self.hidden_states and header.readable_layers is not None)

    def split_to_context(self, context: int) -> TaskWorkload:
        """Return the job split into requests that fit ``context`` tokens."""
        pairs: list[tuple[int, int]] = []
        for prompt, answer in zip(self.prompt_tokens, self.answer_tokens, strict=True):
            part = (prompt, answer)
            if self.part_tokens is not None and prompt + answer > context:
                part = self.part_tokens
            kept = min(part[1], context // 2)
            length = min(part[0], context - kept)
            pairs += [(length, kept)] * -(-prompt // length)
        prompts, answers = zip(*pairs, strict=True)
        return replace(
            self,
            prompt_tokens=prompts,
            answer_tokens=answers,
            shared_prefix_tokens=min(self.shared_prefix_tokens, *prompts),
        )

    @property
    def initial_demand(self) -> ContextDemand:
        """The sequences that run at once when the job begins."""
        return self._demand(DEFAULT_CONCURRENCY)

    @property
    def peak_demand(self) -> ContextDemand:
        """The most sequences that run at once: the engine tries twice as many while that many wait."""
        concurrency = DEFAULT_CONCURRENCY
        while any(self.answer_tokens) and 2 * concurrency <= min(MAX_CONCURRENCY, len(self.answer_tokens)):
            concurrency *= 2
        return self._demand(concurrency)

    def _demand(self, concurrency: int) -> ContextDemand:
        needs = tuple(prompt + answer for prompt, answer in zip(self.prompt_tokens, self.answer_tokens, strict=True))
        return ContextDemand(needs[:concurrency], self.shared_prefix_tokens, concurrency=concurrency)


WORKLOADS: Mapping[str, TaskWorkload] = {
    "chat": TaskWorkload((60,), (FIRST_ANSWER_TOKENS,), needs=QUESTION),
    "code": TaskWorkload((60,), (FIRST_ANSWER_TOKENS,), needs=QUESTION),
    "translate": TaskWorkload(
        (100, 160, 180, 250) * 10, (100, 180, 220, FIRST_ANSWER_TOKENS) * 10, shared_prefix_tokens=40, needs=TRANSLATION
    ),
    "summarize": TaskWorkload((18_000,), (FIRST_ANSWER_TOKENS,), part_tokens=(1_150, 256), needs=SUMMARY),
    "key-sentences": TaskWorkload((22,) * 800, (0,) * 800, hidden_states=True, needs=SUMMARY),
    "classify": TaskWorkload((270,) * 16, (0,) * 16, shared_prefix_tokens=250, needs=LABELS),
    "calibrated": TaskWorkload((270,) * 16, (0,) * 16, shared_prefix_tokens=250, hidden_states=True, needs=LABELS),
}
"""The usual jobs of commands, by task: one answer, many segments of a document, a long text, its sentences, many
records, and many records whose labels come from hidden states (``classify --calibration``, and ``sentiment`` of the
starter). The lengths are those of a question, of the README of this project, and of 400 lines. Of a long text that does
not fit the context, ``SummaryPlan`` writes facts of 256 tokens about parts of 1,024 tokens."""
