"""A check for --deterministic: whether a model gives bit-identical sums alone and in a batch on this machine."""

from __future__ import annotations

import ctypes

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import DECODE_DONE, Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.errors import Unsupported
from llmcli.fast_dataclass import replace

_PROMPT_TOKENS = 70
_SINGLE_TOKENS = 12
_OTHER_SEQUENCES = 7
_SUBJECT_SEQUENCE_ID = 1
"""The subject's sequence id, between those of the others. llama.cpp multiplies streams together only if their ids are
consecutive in the batch (``llama_batch_allocr::split_equal``); with a gap it would evaluate each in its own batch."""


def check_batch_invariance(model: Model, config: ContextConfig) -> None:
    """Raise ``Unsupported`` if a sequence's sums depend on the chunks of its prompt or on other sequences.

    The reference is one sequence, alone, in one chunk and then token by token. The trial evaluates the same tokens in
    uneven chunks and, from the prompt's last part on, token by token beside other sequences, so that 1, some and more
    than 64 rows are multiplied at once. It compares hidden states as well as logits: sums of unquantized matrices
    differ in the last bit only. The quantization of activations hides that from most logits, but not from all of a long
    answer.
    """
    if model.gpu_layers:
        raise Unsupported("--deterministic", detail="it does not work on a GPU; --set gpu_layers=0 uses the processor")
    recorder = _HiddenStateRecorder()
    context = Context(
        model, replace(config, cells=256, sequences=_OTHER_SEQUENCES + 1), lambda: False, recorder.callback
    )
    try:
        if _evaluate_alone(context, recorder) != _evaluate_batched(context, recorder):
            raise Unsupported("--deterministic", detail="this model's sums depend on the batch on this processor")
    finally:
        context.close()


class _HiddenStateRecorder:
    """Copies the states that are multiplied with the output matrix (named ``result_norm`` in every graph)."""

    def __init__(self) -> None:
        self._lib = bindings.lib()._lib  # noqa: SLF001 (the binding does not declare its functions of tensors)
        self._lib.ggml_nbytes.restype = ctypes.c_size_t
        self.callback = bindings.lib().ggml_backend_sched_eval_callback(self._record_tensor)
        self.recorded = bytearray()

    def _record_tensor(self, tensor: int, ask: bool, _data: object) -> bool:
        if bindings.tensor_name(tensor) != b"result_norm":
            return not ask
        if not ask:
            pointer = ctypes.c_void_p(tensor)
            size = self._lib.ggml_nbytes(pointer)
            buffer = ctypes.create_string_buffer(size)
            self._lib.ggml_backend_tensor_get(pointer, buffer, ctypes.c_size_t(0), ctypes.c_size_t(size))
            self.recorded += buffer.raw
        return True


def _make_tokens(model: Model, length: int, salt: int) -> list[int]:
    return [(salt * 7919 + 31 * i * i + 17 * i) % model.vocab_size for i in range(length)]


def _evaluate(
    context: Context, recorder: _HiddenStateRecorder, *chunks: tuple[list[int], int, int], outputs: int = 1
) -> list[bytes]:
    """Evaluate (tokens, position, sequence) chunks; return hidden states and logits of the subject's last tokens."""
    context.batch.clear()
    recorder.recorded.clear()
    rows: list[int] = []
    num_outputs = 0
    subject_outputs = range(0)
    for tokens, position, sequence in chunks:
        offsets = range(max(0, len(tokens) - (outputs if sequence == _SUBJECT_SEQUENCE_ID else 1)), len(tokens))
        start = context.batch.add(tokens, position, sequence, offsets)
        if sequence == _SUBJECT_SEQUENCE_ID:
            rows = [start + offset for offset in offsets]
            subject_outputs = range(num_outputs, num_outputs + len(offsets))
        num_outputs += len(offsets)
    if context.evaluate(abortable=False) != DECODE_DONE:
        raise Unsupported("--deterministic", detail="the self-test did not fit the context")
    lib = bindings.lib()
    logits_bytes = context.model.vocab_size * ctypes.sizeof(ctypes.c_float)
    state_bytes = len(recorder.recorded) // num_outputs
    states = [bytes(recorder.recorded[i * state_bytes : (i + 1) * state_bytes]) for i in subject_outputs]
    return states + [ctypes.string_at(lib.llama_get_logits_ith(context.handle, row), logits_bytes) for row in rows]


def _evaluate_alone(context: Context, recorder: _HiddenStateRecorder) -> list[list[bytes]]:
    subject = _make_tokens(context.model, _PROMPT_TOKENS + _SINGLE_TOKENS, 1)
    rows = _evaluate(context, recorder, (subject[:_PROMPT_TOKENS], 0, _SUBJECT_SEQUENCE_ID), outputs=_SINGLE_TOKENS)
    found = [[rows[i], rows[_SINGLE_TOKENS + i]] for i in range(_SINGLE_TOKENS)]
    found += [
        _evaluate(context, recorder, (subject[at : at + 1], at, _SUBJECT_SEQUENCE_ID))
        for at in range(_PROMPT_TOKENS, len(subject))
    ]
    context.remove_sequence(_SUBJECT_SEQUENCE_ID)
    return found


def _evaluate_batched(context: Context, recorder: _HiddenStateRecorder) -> list[list[bytes]]:
    """Return the same as ``_evaluate_alone``, with the prompt's last tokens and the single ones beside seven others."""
    subject = _make_tokens(context.model, _PROMPT_TOKENS + _SINGLE_TOKENS, 1)
    others = {
        s: _make_tokens(context.model, 80, 2 + s) for s in range(_OTHER_SEQUENCES + 1) if s != _SUBJECT_SEQUENCE_ID
    }
    start = _PROMPT_TOKENS - _SINGLE_TOKENS
    _evaluate(context, recorder, (others[0][:20], 0, 0), (subject[:7], 0, _SUBJECT_SEQUENCE_ID))
    _evaluate(
        context, recorder, (others[0][20:21], 20, 0), (subject[7:40], 7, _SUBJECT_SEQUENCE_ID), (others[2][:21], 0, 2)
    )
    _evaluate(context, recorder, (others[0][21:22], 21, 0), (subject[40:start], 40, _SUBJECT_SEQUENCE_ID))
    done = {0: 22, 2: 21, **dict.fromkeys(range(3, _OTHER_SEQUENCES + 1), 0)}
    found = []
    for position in range(start, len(subject)):
        chunks = [(tokens[done[s] : done[s] + 1], done[s], s) for s, tokens in others.items()]
        own = (subject[position : position + 1], position, _SUBJECT_SEQUENCE_ID)
        found.append(_evaluate(context, recorder, chunks[0], own, *chunks[1:]))
        done = {s: at + 1 for s, at in done.items()}
    return found
