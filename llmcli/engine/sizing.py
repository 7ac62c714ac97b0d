"""How large a context is made: sequence ids and cells for what runs at once, and when it has become too small."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

from llmcli.engine.context import ContextConfig
from llmcli.engine.sequence import Sequence, common_prefix
from llmcli.models.footprint import BATCHES, FIRST_ANSWER_TOKENS, PAD_TOKENS, Demand, context_bytes, context_for
from llmcli.models.gguf import Header

READ_AT_ONCE = 160
"""Tokens of short prompts that a processor reads in one step: more fill its kernels no better.

In one buffer every token has to do with the cells of all sequences. Measured with 21 tokens each behind 250 that all
share: 13.3 sequences a second with 140 to 200 tokens a step, 10.7 with 340.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """``width``: sequences that may run at once; ``longest``: tokens that one may have; ``batch``: of one evaluation.

    ``elastic``: each has memory of its own, so that their number costs.
    """

    width: int
    longest: int
    elastic: bool
    batch: int = BATCHES[0]


def demand_of(sequences: SequenceOf[Sequence], limits: Limits, *, shares: bool = True) -> Demand:
    """Return what ``sequences`` need to run at once; ``shares``: they can have what they begin with in common."""
    needs = tuple(expected(s, limits) for s in sequences)
    shared = min(common_prefix(sequences[0].tokens, s.tokens) for s in sequences) if shares else 0
    return Demand(needs, shared, tuple(s.branches for s in sequences), limits.width)


def expected(sequence: Sequence, limits: Limits) -> int:
    """Return the cells that a sequence will take, a long answer aside, for which the context grows."""
    return min(len(sequence.tokens) + min(sequence.longest, FIRST_ANSWER_TOKENS) + 1, limits.longest)


def fitting(
    config: ContextConfig, demand: Demand, limits: Limits, header: Header, room: int | None
) -> tuple[ContextConfig, int]:
    """Return ``config`` for as many sequences of ``demand`` as ``room`` bytes hold, one at least, and how many."""
    shape, count = context_for(demand, config.settings, header, room, limits.batch)
    return replace(config, cells=shape.cells, sequences=shape.sequences, batch=shape.batch), count


def too_small(config: ContextConfig, sequences: SequenceOf[Sequence], limits: Limits) -> bool:
    """Say whether a context made so has too few ids for ``sequences``, or too short buffers."""
    short = not config.unified and any(len(s.tokens) > config.cells for s in sequences)
    return (limits.elastic and short) or min(limits.width, len(sequences)) + 1 > config.sequences


def extends(wanted: ContextConfig, present: ContextConfig) -> bool:
    """Say whether a context has more cells or more ids than the ``present`` one."""
    return wanted.cells > present.cells or wanted.sequences > present.sequences


def has_room(sequence: Sequence, running: SequenceOf[Sequence], config: ContextConfig, limits: Limits) -> bool:
    """Say whether one more sequence fits the buffer that all share, with the answers that are still to come."""
    if not running or not config.unified:
        return True
    together = [*running, sequence]
    needed = sum(expected(s, limits) for s in together)
    if needed > config.cells:
        shared = min(common_prefix(running[0].tokens, s.tokens) for s in together)
        needed -= shared * (len(together) - 1)
    return needed <= config.cells


def larger(
    config: ContextConfig, running: SequenceOf[Sequence], limits: Limits, header: Header, room: int | None
) -> ContextConfig | None:
    """Return ``config`` with more cells for what runs; None where nothing that may run needs more.

    ``room`` bytes bound it, unless a single sequence runs: that may have all that the model's context allows.
    """
    most = limits.longest * (limits.width if config.unified else 1) + 1
    if config.cells >= most:
        return None
    unshared = sum(len(s.tokens) + min(s.longest, FIRST_ANSWER_TOKENS) for s in running) if config.unified else 0
    wanted = config.with_cells(min(max(2 * config.cells, unshared), most))
    step = max(PAD_TOKENS, config.cells // 8 // PAD_TOKENS * PAD_TOKENS)
    while room is not None and context_bytes(header, wanted.shape) > room:
        if wanted.cells - step <= config.cells:
            return wanted if len(running) == 1 else None
        wanted = replace(wanted, cells=wanted.cells - step)
    return wanted
