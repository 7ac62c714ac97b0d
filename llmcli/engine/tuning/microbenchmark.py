"""Times a loaded model: prompts, single tokens and batches, in every attention kernel of llama.cpp.

Filling a cache by evaluation would take most of the time, so one prompt is evaluated and copied to the other
sequences. Minima count, since other processes only add time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import DECODE_DONE, Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.tuning.cost_profile import AttentionCosts, attended_cells
from llmcli.errors import InternalError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.weights_times import BATCH_ROWS, PROMPT_ROWS, WIDE_ROWS, StepTimes

_SHALLOW = 64
"""Tokens before those that are timed without the cost of a long context."""
_OWN = 128
"""Tokens of each sequence of a batch."""
_TRIES = 4
_SINGLE_TRIES = 12
_PROMPT_TRIES = 3
"""How often a prompt is timed at most; once is enough if this process had the processor to itself."""
_UNDISTURBED_SHARE = 0.9
"""The fraction of the processor time of its threads that an undisturbed step gets."""


class Stopwatch:
    """Evaluates batches of a context and measures their duration."""

    def __init__(self, context: Context, interrupt: Interrupt) -> None:
        self.context = context
        self._interrupt = interrupt
        self._vocabulary = context.model.vocab_size
        self._disturbed = False  # the last step

    def step(self, *chunks: tuple[int, int, int]) -> float:
        """Evaluate (sequence, position, tokens) chunks in one batch; return the seconds.

        Raises what ``interrupt.check`` raises.
        """
        batch = self.context.batch
        batch.clear()
        for sequence, position, count in chunks:
            # different tokens, so that a mixture of experts uses different ones
            tokens = [(7919 * (position + i) + 31 * sequence) % self._vocabulary for i in range(count)]
            batch.add(tokens, position, sequence, [count - 1])
        started, processor_s = time.perf_counter(), time.process_time()
        code = self.context.evaluate(abortable=True)
        seconds, processor_s = time.perf_counter() - started, time.process_time() - processor_s
        self._disturbed = processor_s < _UNDISTURBED_SHARE * self.context.config.threads.most * seconds
        self._interrupt.check()
        if code != DECODE_DONE:
            raise InternalError("measurement", detail="the cache is full")
        return seconds

    def prompt(self, position: int, count: int) -> float:
        """Return the seconds a token of a prompt's chunk at ``position`` of sequence 0, which keeps those tokens.

        If other processes used the processor meanwhile, it is evaluated again.
        """
        times = [self.step((0, position, count))]
        while self._disturbed and len(times) < _PROMPT_TRIES:
            if position:
                self.truncate(0, position)
            else:  # any kind of memory can be emptied
                self.clear()
            times.append(self.step((0, position, count)))
        return min(times) / count

    def decode(self, *rows: tuple[int, int], tries: int = _TRIES) -> float:
        """Evaluate ``tries`` tokens from each (sequence, position) on.

        Return the seconds a token of the fastest step.
        """
        steps = (self.step(*((sequence, position + i, 1) for sequence, position in rows)) for i in range(tries))
        return min(steps) / len(rows)

    def truncate(self, sequence: int, length: int) -> None:
        """Remove the tokens of a sequence from ``length`` on."""
        bindings.lib().llama_memory_seq_rm(self.context.memory, sequence, length, -1)

    def share(self, length: int, count: int) -> None:
        """Share the first ``length`` tokens (-1: all) of sequence 0 with sequences 1 to ``count``."""
        for sequence in range(1, count + 1):
            bindings.lib().llama_memory_seq_cp(self.context.memory, 0, sequence, 0, length)

    def fill(self, state: bytearray, count: int) -> None:
        """Restore ``state`` in sequences 1 to ``count``, each with cells of its own."""
        if not all(self.context.restore_state(sequence, state) for sequence in range(1, count + 1)):
            raise InternalError("measurement", detail="a state could not be restored")

    def time_copy(self, source: int, target: int, other: tuple[int, int]) -> float:
        """Return the seconds of a step of one token at a (sequence, position) that copies a buffer first."""
        bindings.lib().llama_memory_seq_cp(self.context.memory, source, target, -1, -1)
        seconds = self.step((*other, 1))
        self.truncate(*other)
        self.truncate(target, 0)
        return seconds

    def clear(self) -> None:
        """Empty the cache."""
        bindings.lib().llama_memory_clear(self.context.memory, False)


@contextlib.contextmanager
def open_stopwatch(model: Model, config: ContextConfig, interrupt: Interrupt) -> Iterator[Stopwatch]:
    """Time ``model`` in a context of its own. Raises ``OutOfMemory`` and ``Unsupported``."""
    context = Context(model, config, lambda: interrupt.error is not None)
    try:
        yield Stopwatch(context, interrupt)
    finally:
        context.close()


@contextlib.contextmanager
def load_for_timing(path: Path, interrupt: Interrupt) -> Iterator[Model]:
    """Load the model at ``path`` on the processor for the block.

    Raises what ``interrupt.check`` raises, also while it is loaded, and as loading a model does.
    """
    interrupt.check()
    model = Model(path, gpu_layers=0, keep_going=lambda: interrupt.error is None)
    try:
        yield model
    finally:
        model.close()


def context_config(threads: int, *, flash_attention: bool = True, kv_type: str = "f16") -> ContextConfig:
    """Return the context in which one kernel is timed."""
    return ContextConfig(
        cells=BATCH_ROWS * (_OWN + 16) + 2 * PROMPT_ROWS,
        sequences=WIDE_ROWS + 1,
        batch=PROMPT_ROWS,
        flash_attention=flash_attention,
        kv_type=kv_type,
        threads=ThreadPolicy(threads, fixed=True),
    )


def time_steps(model: Model, threads: int, interrupt: Interrupt) -> StepTimes:
    """Time the weights of ``model``: llama.cpp's own kernel, few tokens before those that are timed.

    Sequences are only extended and copied as a whole, which any kind of memory allows.
    """
    with open_stopwatch(model, context_config(threads), interrupt) as one:
        one.step((0, 0, 1))  # the first evaluation reserves buffers
        one.clear()
        prompt = one.prompt(0, PROMPT_ROWS)
        one.clear()
        one.step((0, 0, _SHALLOW))
        one.share(-1, WIDE_ROWS)
        single = one.decode((0, _SHALLOW), tries=_SINGLE_TRIES)
        batch = one.decode(*((row, _SHALLOW) for row in range(1, BATCH_ROWS + 1)))
        wide = one.decode(*((row, _SHALLOW + (_TRIES if row <= BATCH_ROWS else 0)) for row in range(1, WIDE_ROWS + 1)))
    return StepTimes(prompt=prompt, single=single, batch=batch, wide=wide)


def time_attention(
    model: Model, threads: int, interrupt: Interrupt, base: StepTimes, *, flash_attention: bool, kv_type: str
) -> tuple[AttentionCosts, float]:
    """Time one kernel; return what it costs in addition to the ``base`` times of the same weights, and a copied cell.

    The second value is the seconds of copying one cell of a separate buffer.
    """
    rows = range(1, BATCH_ROWS + 1)
    config = context_config(threads, flash_attention=flash_attention, kv_type=kv_type)
    deep = 2 * PROMPT_ROWS
    window = model.sliding_window if flash_attention else 0
    with open_stopwatch(model, config, interrupt) as one:
        one.step((0, 0, 1))
        one.clear()
        first, second = (one.prompt(start, PROMPT_ROWS) for start in (0, PROMPT_ROWS))
        single_deep = one.decode((0, deep), tries=_SINGLE_TRIES)
        one.share(PROMPT_ROWS, BATCH_ROWS)
        shared = one.decode(*((row, PROMPT_ROWS) for row in rows))
        for row in rows:
            one.truncate(row, 0)
        one.truncate(0, _OWN)
        state = one.context.save_state(0)
        single = one.decode((0, _OWN), tries=_SINGLE_TRIES)
        one.share(_OWN, BATCH_ROWS)
        shallow = one.decode(*((row, _OWN) for row in rows))
        for row in rows:
            one.truncate(row, 0)
        one.fill(state, BATCH_ROWS)
        one.truncate(0, 0)
        distinct = one.decode(*((row, _OWN) for row in rows))
    streams = replace(config, unified=False, cells=2 * _OWN, sequences=BATCH_ROWS + 1)
    with open_stopwatch(model, streams, interrupt) as each:
        each.step(*((row, 0, 1) for row in rows))
        each.clear()
        alone = each.decode(*((row, 0) for row in rows))
        each.clear()
        each.step((0, 0, _OWN))
        each.share(-1, BATCH_ROWS)  # separate buffers are copied as a whole, at the next step
        own = each.decode(*((row, _OWN) for row in rows))
        length = _OWN + _TRIES
        copied = min(each.time_copy(1, 0, (2, length)) for _ in range(_TRIES))
        not_copied = each.decode((2, length))
    # one buffer: a token costs a + b * cells of the buffer + c * cells before it
    both = (shared - shallow) / (PROMPT_ROWS - _OWN)  # b + c
    buffer = (distinct - shallow) / (BATCH_ROWS * _OWN - _OWN)
    buffer = min(max(0.0, buffer), max(0.0, both))
    costs = AttentionCosts(
        prompt=_fit_line(
            (attended_cells(PROMPT_ROWS / 2, window), first),
            (attended_cells(1.5 * PROMPT_ROWS, window), second),
            base.prompt,
        ),
        single=_fit_line((_OWN, single), (attended_cells(deep, window), single_deep), base.single),
        unified=(shallow - both * _OWN - base.batch, buffer, max(0.0, both - buffer)),
        separate=_fit_line((0, alone), (_OWN, own), base.batch),
    )
    return costs, max(0.0, copied - not_copied) / _OWN


def _fit_line(low: tuple[float, float], high: tuple[float, float], base: float) -> tuple[float, float]:
    """Return the cost at no cells beyond ``base``, and that of each cell, from two (cells, seconds)."""
    slope = max(0.0, (high[1] - low[1]) / (high[0] - low[0]))
    return low[1] - slope * low[0] - base, slope
