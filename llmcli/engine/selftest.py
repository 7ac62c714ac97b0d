"""Does this model, on this machine, give bit-identical logits alone and in a batch? Asked before it is promised."""

from __future__ import annotations

import ctypes
from dataclasses import replace

from llmcli.engine import native
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.memory import memory_of
from llmcli.engine.model import Model
from llmcli.errors import Unsupported

_LENGTH = 96
_OTHERS = 8


def check(model: Model, config: ContextConfig) -> None:
    """Raise ``Unsupported`` when a sequence's logits depend on how its prompt was cut or on who else is in the batch.

    The reference is one sequence in one piece and then one token alone; the trial evaluates the same in uneven pieces
    beside others that come and go, so that 1, some and more than 64 rows are multiplied at once.
    """
    if model.gpu_layers:
        raise Unsupported("--deterministic", detail="not on a GPU; --gpu-layers 0 runs on the processor")
    context = Context(model, replace(config, cells=256, sequences=_OTHERS + 2), lambda: False)
    try:
        if _alone(context) != _in_company(context):
            raise Unsupported("--deterministic", detail="this model's sums depend on the batch on this processor")
    finally:
        context.close()


def _tokens(model: Model, length: int, salt: int) -> list[int]:
    return [(salt * 7919 + 31 * i * i + 17 * i) % model.vocab_size for i in range(length)]


def _evaluate(context: Context, pieces: list[tuple[list[int], int, int]]) -> list[bytes]:
    """Evaluate (tokens, position, sequence) pieces in one batch; returns the bytes of each piece's last logits."""
    context.batch.clear()
    indices = []
    for tokens, position, sequence in pieces:
        start = context.batch.add(tokens, position, sequence, [len(tokens) - 1])
        indices.append(start + len(tokens) - 1)
    if context.evaluate(abortable=False) != 0:
        raise Unsupported("--deterministic", detail="the self-test did not fit the context")
    lib = native.lib()
    width = context.model.vocab_size * ctypes.sizeof(ctypes.c_float)
    return [ctypes.string_at(lib.llama_get_logits_ith(context.handle, index), width) for index in indices]


def _alone(context: Context) -> list[bytes]:
    subject = _tokens(context.model, _LENGTH + 2, 1)
    rows = _evaluate(context, [(subject[:_LENGTH], 0, 0)])
    for position in (_LENGTH, _LENGTH + 1):
        rows += _evaluate(context, [([subject[position]], position, 0)])
    memory_of(context).remove(0)
    return rows


def _in_company(context: Context) -> list[bytes]:
    subject = _tokens(context.model, _LENGTH + 2, 1)
    others = [_tokens(context.model, 80, 2 + i) for i in range(_OTHERS)]
    _evaluate(context, [(others[0][:40], 0, 2), (subject[:7], 0, 0)])
    _evaluate(context, [(subject[7:40], 7, 0), (others[1][:70], 0, 3)])
    rows = _evaluate(context, [(others[0][40:41], 40, 2), (subject[40:_LENGTH], 40, 0)])[1:]
    company = [(tokens[:3], 0, 2 + i) for i, tokens in enumerate(others) if i > 1]
    rows += _evaluate(context, [([subject[_LENGTH]], _LENGTH, 0), *company])[:1]
    company = [(tokens[3:4], 3, 2 + i) for i, tokens in enumerate(others) if i > 1]
    rows += _evaluate(context, [*company, ([subject[_LENGTH + 1]], _LENGTH + 1, 0)])[-1:]
    return rows
