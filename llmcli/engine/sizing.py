"""How large a context is made: sequence ids and cells for what runs at once, and when it has become too small."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

from llmcli.engine.context import MAX_SEQUENCES, ContextConfig
from llmcli.engine.sequence import Sequence, common_prefix

_FIRST_ANSWER = 512
"""Tokens of answer for which room is made at first; the context grows when an answer is longer."""

READ_AT_ONCE = 160
"""Tokens of short prompts that a processor reads in one step: more fill its kernels no better.

In one buffer every token has to do with the cells of all sequences. Measured with 21 tokens each behind 250 that all
share: 13.3 sequences a second with 140 to 200 tokens a step, 10.7 with 340.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """``width``: sequences that may run at once; ``longest``: tokens that one may have.

    ``elastic``: each has memory of its own, so that their number costs.
    """

    width: int
    longest: int
    elastic: bool


def fitting(config: ContextConfig, sequences: SequenceOf[Sequence], limits: Limits) -> ContextConfig:
    """Return ``config`` with room for ``sequences`` to run at once."""
    needs = [min(_expected(s), limits.longest) + 1 for s in sequences]
    count = 2 * limits.width
    if limits.elastic:  # one for each or for its branches, one for what these begin with, two to keep
        grown = min(limits.width, sum(s.branches for s in sequences))
        count = max(len(sequences), grown) + sum(s.branches > 0 for s in sequences) + 2
    cells = max(needs)
    if config.unified:
        shared = min(common_prefix(sequences[0].tokens, s.tokens) for s in sequences)
        cells = sum(needs) - shared * (len(needs) - 1)
    return replace(config, sequences=min(count, MAX_SEQUENCES)).with_cells(cells)


def too_small(config: ContextConfig, sequences: SequenceOf[Sequence], limits: Limits) -> bool:
    """Say whether a context made so has too few ids for ``sequences``, or too short buffers."""
    short = not config.unified and any(len(s.tokens) > config.cells for s in sequences)
    return (limits.elastic and short) or min(limits.width, len(sequences)) + 1 > config.sequences


def larger(config: ContextConfig, running: SequenceOf[Sequence], limits: Limits) -> ContextConfig | None:
    """Return ``config`` with more cells for what runs; None where nothing that may run needs more."""
    most = limits.longest * (limits.width if config.unified else 1) + 1
    if config.cells >= most:
        return None
    unshared = sum(map(_expected, running)) if config.unified else 0
    return config.with_cells(min(max(2 * config.cells, unshared), most))


def _expected(sequence: Sequence) -> int:
    return len(sequence.tokens) + min(sequence.longest, _FIRST_ANSWER)
