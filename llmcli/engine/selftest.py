"""Does this model, on this machine, give bit-identical sums alone and in a batch? Asked before it is promised."""

from __future__ import annotations

import ctypes
from dataclasses import replace

from llmcli.engine import native
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.memory import memory_of
from llmcli.engine.model import Model
from llmcli.errors import Unsupported

_PIECE = 70
_SINGLE = 12
_OTHERS = 7
_SUBJECT = 1
"""Its sequence id, between those of the others: llama.cpp multiplies streams together only where their ids follow one
another in the batch (``llama_batch_allocr::split_equal``); with a gap each would be a batch of its own."""


def check(model: Model, config: ContextConfig) -> None:
    """Raise ``Unsupported`` when a sequence's sums depend on how its prompt was cut or on who else is in the batch.

    The reference is one sequence in one piece and then token by token, alone; the trial evaluates the same in uneven
    pieces and, from the prompt's last part on, token by token beside others, so that 1, some and more than 64 rows are
    multiplied at once. The hidden states are compared besides the logits: sums of unquantized matrices differ in the
    last bit only, which the quantization of activations hides from most logits, but not from all of a long answer.
    """
    if model.gpu_layers:
        raise Unsupported("--deterministic", detail="not on a GPU; --gpu-layers 0 runs on the processor")
    watch = _Watch()
    context = Context(model, replace(config, cells=256, sequences=_OTHERS + 1), lambda: False, watch.callback)
    try:
        if _alone(context, watch) != _in_company(context, watch):
            raise Unsupported("--deterministic", detail="this model's sums depend on the batch on this processor")
    finally:
        context.close()


class _Watch:
    """Copies the states that the output matrix is multiplied with (named ``result_norm`` in every graph)."""

    def __init__(self) -> None:
        self._lib = native.lib()._lib  # noqa: SLF001
        self._lib.ggml_get_name.restype = ctypes.c_char_p
        self._lib.ggml_nbytes.restype = ctypes.c_size_t
        self.callback = native.lib().ggml_backend_sched_eval_callback(self._see)
        self.seen = bytearray()

    def _see(self, tensor: int, ask: bool, _data: object) -> bool:
        pointer = ctypes.c_void_p(tensor)
        if self._lib.ggml_get_name(pointer) != b"result_norm":
            return not ask
        if not ask:
            size = self._lib.ggml_nbytes(pointer)
            buffer = ctypes.create_string_buffer(size)
            self._lib.ggml_backend_tensor_get(pointer, buffer, ctypes.c_size_t(0), ctypes.c_size_t(size))
            self.seen += buffer.raw
        return True


def _tokens(model: Model, length: int, salt: int) -> list[int]:
    return [(salt * 7919 + 31 * i * i + 17 * i) % model.vocab_size for i in range(length)]


def _evaluate(context: Context, watch: _Watch, *pieces: tuple[list[int], int, int], outputs: int = 1) -> list[bytes]:
    """Evaluate (tokens, position, sequence) pieces; returns hidden states and logits of the subject's last tokens."""
    context.batch.clear()
    watch.seen.clear()
    rows: list[int] = []
    asked = 0
    places = range(0)
    for tokens, position, sequence in pieces:
        wanted = range(max(0, len(tokens) - (outputs if sequence == _SUBJECT else 1)), len(tokens))
        start = context.batch.add(tokens, position, sequence, wanted)
        if sequence == _SUBJECT:
            rows = [start + offset for offset in wanted]
            places = range(asked, asked + len(wanted))
        asked += len(wanted)
    if context.evaluate(abortable=False) != 0:
        raise Unsupported("--deterministic", detail="the self-test did not fit the context")
    lib = native.lib()
    width = context.model.vocab_size * ctypes.sizeof(ctypes.c_float)
    hidden = len(watch.seen) // asked
    return [bytes(watch.seen[place * hidden : (place + 1) * hidden]) for place in places] + [
        ctypes.string_at(lib.llama_get_logits_ith(context.handle, row), width) for row in rows
    ]


def _alone(context: Context, watch: _Watch) -> list[list[bytes]]:
    subject = _tokens(context.model, _PIECE + _SINGLE, 1)
    rows = _evaluate(context, watch, (subject[:_PIECE], 0, _SUBJECT), outputs=_SINGLE)
    found = [[rows[i], rows[_SINGLE + i]] for i in range(_SINGLE)]
    found += [_evaluate(context, watch, (subject[at : at + 1], at, _SUBJECT)) for at in range(_PIECE, len(subject))]
    memory_of(context).remove(_SUBJECT)
    return found


def _in_company(context: Context, watch: _Watch) -> list[list[bytes]]:
    """Return the same as ``_alone``: of the prompt's last tokens and the single ones, each beside seven others."""
    subject = _tokens(context.model, _PIECE + _SINGLE, 1)
    others = {s: _tokens(context.model, 80, 2 + s) for s in range(_OTHERS + 1) if s != _SUBJECT}
    start = _PIECE - _SINGLE
    _evaluate(context, watch, (others[0][:20], 0, 0), (subject[:7], 0, _SUBJECT))
    _evaluate(context, watch, (others[0][20:21], 20, 0), (subject[7:40], 7, _SUBJECT), (others[2][:21], 0, 2))
    _evaluate(context, watch, (others[0][21:22], 21, 0), (subject[40:start], 40, _SUBJECT))
    done = {0: 22, 2: 21, **dict.fromkeys(range(3, _OTHERS + 1), 0)}
    found = []
    for position in range(start, len(subject)):
        pieces = [(tokens[done[s] : done[s] + 1], done[s], s) for s, tokens in others.items()]
        own = (subject[position : position + 1], position, _SUBJECT)
        found.append(_evaluate(context, watch, pieces[0], own, *pieces[1:]))
        done = {s: at + 1 for s, at in done.items()}
    return found
