"""Times the weights of a loaded model: prompts, single tokens and batches. Minima count: other processes only add time.

``attention_timing`` compares the kernels of attention.
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
from llmcli.errors import InternalError
from llmcli.interrupt import Interrupt
from llmcli.weights_times import BATCH_ROWS, PROMPT_ROWS, WIDE_ROWS, StepTimes

_SHALLOW = 64
"""Tokens before those that are timed without the cost of a long context."""
_TRIES = 4
SINGLE_TRIES = 12
PROMPT_TRIES = 3
"""How often a prompt is timed at most; once is enough if this process had the processor to itself."""
_UNDISTURBED_SHARE = 0.9
"""The fraction of the processor time of its threads that an undisturbed step gets."""


class Stopwatch:
    """Evaluates batches of a context and measures their duration."""

    def __init__(self, context: Context, interrupt: Interrupt) -> None:
        self.context = context
        self._interrupt = interrupt
        self._vocabulary = context.model.vocab_size
        self.is_disturbed = False
        """Whether other processes used the processor during the last step."""

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
        self.is_disturbed = processor_s < _UNDISTURBED_SHARE * self.context.config.threads.most * seconds
        self._interrupt.check()
        if code != DECODE_DONE:
            raise InternalError("measurement", detail="the cache is full")
        return seconds

    def prompt(self, position: int, count: int) -> float:
        """Return the seconds a token of a prompt's chunk at ``position`` of sequence 0, which keeps those tokens.

        If other processes used the processor meanwhile, it is evaluated again.
        """
        times = [self.step((0, position, count))]
        while self.is_disturbed and len(times) < PROMPT_TRIES:
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

    def fill(self, state: bytearray, first: int, count: int) -> None:
        """Restore ``state`` in ``count`` sequences from ``first`` on, each with cells of its own."""
        if not all(self.context.restore_state(sequence, state) for sequence in range(first, first + count)):
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


def time_steps(model: Model, threads: int, interrupt: Interrupt) -> StepTimes:
    """Time the weights of ``model``: llama.cpp's own kernel, few tokens before those that are timed.

    Sequences are only extended and copied as a whole, which any kind of memory allows.
    """
    config = ContextConfig(
        cells=PROMPT_ROWS + WIDE_ROWS * 2 * _TRIES,
        sequences=WIDE_ROWS + 1,
        batch=PROMPT_ROWS,
        threads=ThreadPolicy(threads, fixed=True),
    )
    with open_stopwatch(model, config, interrupt) as one:
        one.step((0, 0, 1))  # the first evaluation reserves buffers
        one.clear()
        prompt = one.prompt(0, PROMPT_ROWS)
        one.clear()
        one.step((0, 0, _SHALLOW))
        one.share(-1, WIDE_ROWS)
        single = one.decode((0, _SHALLOW), tries=SINGLE_TRIES)
        batch = one.decode(*((row, _SHALLOW) for row in range(1, BATCH_ROWS + 1)))
        wide = one.decode(*((row, _SHALLOW + (_TRIES if row <= BATCH_ROWS else 0)) for row in range(1, WIDE_ROWS + 1)))
    return StepTimes(prompt=prompt, single=single, batch=batch, wide=wide)
