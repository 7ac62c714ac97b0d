"""Times the attention kernels of llama.cpp in turn, step by step, so that they can be compared.

The speed of a machine drifts by 30% within a minute, which is more than kernels differ. So the kernels take turns, and
each is compared with the first one by the median of the ratios of neighbouring steps: a slow minute affects both steps
of a pair, and a disturbance affects few pairs. The times of the first kernel are minima, since other processes only add
time; those of the others are its times multiplied by their ratios.

Lone sequences are timed with the contexts of all kernels at once. The contexts of batches are large, so there each
kernel is timed beside the first one alone. Filling a cache by evaluation would take most of the time, so a prompt's
state is restored and copied to the other sequences.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from llmcli.engine.llama.context import ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.tuning.cost_profile import AttentionCosts, attended_cells
from llmcli.engine.tuning.microbenchmark import PROMPT_TRIES, SINGLE_TRIES, Stopwatch, open_stopwatch
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.weights_times import BATCH_ROWS, PROMPT_ROWS, StepTimes

_SEQUENCE_TOKENS = 128
"""Tokens of each sequence of a batch."""
_PAIRS = 3
"""How often each step of a batch is timed in either kernel of a pair."""

Kernel = tuple[bool, str]
"""Flash attention or plain attention, and the type of the cache."""


class PairedTimings:
    """Seconds of steps by name and kernel, compared by pairs with the first kernel."""

    def __init__(self, reference: Kernel) -> None:
        self._reference = reference
        self._least: dict[str, float] = {}
        self._ratios: dict[tuple[str, Kernel], float] = {}

    def add(self, name: str, samples: Mapping[Kernel, Sequence[float]]) -> None:
        """Add times of one step, of which those with one index were taken one after another."""
        own = samples[self._reference]
        self._least[name] = min(*own, self._least.get(name, own[0]))
        for kernel, times in samples.items():
            self._ratios[name, kernel] = statistics.median(time / other for time, other in zip(times, own, strict=True))

    def seconds_of(self, kernel: Kernel) -> dict[str, float]:
        """Return the seconds of each step in a kernel."""
        return {name: least * self._ratios[name, kernel] for name, least in self._least.items()}


def time_kernels(
    model: Model,
    threads: int,
    interrupt: Interrupt,
    base: StepTimes,
    kernels: Sequence[Kernel],
    on_step: Callable[[], None] = lambda: None,
) -> tuple[dict[Kernel, AttentionCosts], float]:
    """Return what each kernel costs in addition to the ``base`` times of the same weights, and a copied cell.

    The second value is the seconds of copying one cell of a separate buffer. ``kernels``: two or more. ``on_step`` is
    called once for each kernel. Raises ``OutOfMemory``, ``Unsupported`` and what ``interrupt.check`` raises.
    """
    reference, *others = kernels
    times, copies = PairedTimings(reference), []
    config = ContextConfig(
        cells=2 * PROMPT_ROWS + SINGLE_TRIES,
        sequences=1,
        batch=PROMPT_ROWS,
        threads=ThreadPolicy(threads, fixed=True),
    )
    states = _time_lone_sequences(model, config, interrupt, kernels, times)
    on_step()
    batches = replace(
        config, cells=PROMPT_ROWS + BATCH_ROWS * (_SEQUENCE_TOKENS + 2 * _PAIRS), sequences=BATCH_ROWS + 1
    )
    streams = replace(batches, unified=False, cells=2 * _SEQUENCE_TOKENS)
    for other in others:
        pair = (reference, other)
        _time_batches(model, batches, interrupt, {kernel: states[kernel] for kernel in pair}, times)
        copies.append(_time_streams(model, streams, interrupt, pair, times))
        on_step()
    window = model.sliding_window
    costs = {kernel: _attention_costs(times.seconds_of(kernel), base, window if kernel[0] else 0) for kernel in kernels}
    return costs, min(copies)


def _attention_costs(times: dict[str, float], base: StepTimes, window: int) -> AttentionCosts:
    """Return the costs beyond the ``base`` times; ``window`` as for ``attended_cells``."""
    # one buffer: a token costs a + b * cells of the buffer + c * cells before it
    both = (times["shared"] - times["shallow"]) / (PROMPT_ROWS - _SEQUENCE_TOKENS)  # b + c
    buffer = (times["distinct"] - times["shallow"]) / (BATCH_ROWS * _SEQUENCE_TOKENS - _SEQUENCE_TOKENS)
    buffer = min(max(0.0, buffer), max(0.0, both))
    return AttentionCosts(
        prompt=_fit_line(
            (attended_cells(PROMPT_ROWS / 2, window), times["first prompt"]),
            (attended_cells(1.5 * PROMPT_ROWS, window), times["second prompt"]),
            base.prompt,
        ),
        single=_fit_line(
            (_SEQUENCE_TOKENS, times["single"]),
            (attended_cells(2 * PROMPT_ROWS, window), times["deep single"]),
            base.single,
        ),
        unified=(times["shallow"] - both * _SEQUENCE_TOKENS - base.batch, buffer, max(0.0, both - buffer)),
        separate=_fit_line((0, times["separate"]), (_SEQUENCE_TOKENS, times["deep separate"]), base.batch),
    )


def _fit_line(low: tuple[float, float], high: tuple[float, float], base: float) -> tuple[float, float]:
    """Return the cost at no cells beyond ``base``, and that of each cell, from two (cells, seconds)."""
    slope = max(0.0, (high[1] - low[1]) / (high[0] - low[0]))
    return low[1] - slope * low[0] - base, slope


# ---- the steps -------------------------------------------------------------------------------------------------------


class _InterleavedContexts:
    """The contexts of some kernels, whose steps are timed in turn."""

    def __init__(self, stopwatches: dict[Kernel, Stopwatch], times: PairedTimings) -> None:
        self.stopwatches, self._times = stopwatches, times
        self.for_each(lambda stopwatch: stopwatch.step((0, 0, 1)))  # the first evaluation reserves buffers
        self.for_each(Stopwatch.clear)

    def for_each(self, action: Callable[[Stopwatch], object]) -> None:
        """Do something in every context."""
        for stopwatch in self.stopwatches.values():
            action(stopwatch)

    def time_prompt(self, name: str, position: int) -> None:
        """Time a chunk of sequence 0, which keeps those tokens; again if other processes used the processor."""
        samples: dict[Kernel, list[float]] = defaultdict(list)
        for tries_left in reversed(range(PROMPT_TRIES)):
            for kernel, stopwatch in self.stopwatches.items():
                samples[kernel].append(stopwatch.step((0, position, PROMPT_ROWS)) / PROMPT_ROWS)
            if not tries_left or not any(stopwatch.is_disturbed for stopwatch in self.stopwatches.values()):
                break
            self.for_each(lambda stopwatch: stopwatch.truncate(0, position))
        self._times.add(name, samples)

    def time_decode(self, name: str, *rows: tuple[int, int], tries: int = _PAIRS) -> None:
        """Time ``tries`` tokens from each (sequence, position) on; every other round begins with the last kernel."""
        samples: dict[Kernel, list[float]] = defaultdict(list)
        order = list(self.stopwatches.items())
        for i in range(tries):
            for kernel, stopwatch in order:
                seconds = stopwatch.step(*((sequence, position + i, 1) for sequence, position in rows))
                samples[kernel].append(seconds / len(rows))
            order.reverse()
        self._times.add(name, samples)


def _open_contexts(
    stack: ExitStack,
    model: Model,
    config: ContextConfig,
    interrupt: Interrupt,
    kernels: Sequence[Kernel],
    times: PairedTimings,
) -> _InterleavedContexts:
    stopwatches = {}
    for flash_attention, kv_type in kernels:
        own = replace(config, flash_attention=flash_attention, kv_type=kv_type)
        stopwatches[flash_attention, kv_type] = stack.enter_context(open_stopwatch(model, own, interrupt))
    return _InterleavedContexts(stopwatches, times)


def _time_lone_sequences(
    model: Model, config: ContextConfig, interrupt: Interrupt, kernels: Sequence[Kernel], times: PairedTimings
) -> dict[Kernel, bytearray]:
    """Time prompts and single tokens; return the state of a prompt in each kernel."""
    with ExitStack() as stack:
        contexts = _open_contexts(stack, model, config, interrupt, kernels, times)
        contexts.time_prompt("first prompt", 0)
        contexts.time_prompt("second prompt", PROMPT_ROWS)
        contexts.time_decode("deep single", (0, 2 * PROMPT_ROWS), tries=SINGLE_TRIES)
        contexts.for_each(lambda stopwatch: stopwatch.truncate(0, PROMPT_ROWS))
        states = {kernel: stopwatch.context.save_state(0) for kernel, stopwatch in contexts.stopwatches.items()}
        contexts.for_each(lambda stopwatch: stopwatch.truncate(0, _SEQUENCE_TOKENS))
        contexts.time_decode("single", (0, _SEQUENCE_TOKENS), tries=SINGLE_TRIES)
    return states


def _time_batches(
    model: Model, config: ContextConfig, interrupt: Interrupt, states: Mapping[Kernel, bytearray], times: PairedTimings
) -> None:
    """Time batches in one buffer, after the prompts of ``states``."""
    rows = range(1, BATCH_ROWS + 1)

    def remove_rows(stopwatch: Stopwatch) -> None:
        for row in rows:
            stopwatch.truncate(row, 0)

    with ExitStack() as stack:
        contexts = _open_contexts(stack, model, config, interrupt, tuple(states), times)
        for kernel, stopwatch in contexts.stopwatches.items():
            stopwatch.fill(states[kernel], 0, 1)
        contexts.for_each(lambda stopwatch: stopwatch.share(PROMPT_ROWS, BATCH_ROWS))
        contexts.time_decode("shared", *((row, PROMPT_ROWS) for row in rows))
        contexts.for_each(remove_rows)
        contexts.for_each(lambda stopwatch: stopwatch.truncate(0, _SEQUENCE_TOKENS))
        contexts.for_each(lambda stopwatch: stopwatch.share(_SEQUENCE_TOKENS, BATCH_ROWS))
        contexts.time_decode("shallow", *((row, _SEQUENCE_TOKENS) for row in rows))
        contexts.for_each(remove_rows)
        for stopwatch in contexts.stopwatches.values():
            stopwatch.fill(stopwatch.context.save_state(0), 1, BATCH_ROWS)
            stopwatch.truncate(0, 0)
        contexts.time_decode("distinct", *((row, _SEQUENCE_TOKENS) for row in rows))


def _time_streams(
    model: Model, config: ContextConfig, interrupt: Interrupt, kernels: Sequence[Kernel], times: PairedTimings
) -> float:
    """Time batches in separate buffers; return the seconds of copying a cell with the last kernel."""
    rows = range(1, BATCH_ROWS + 1)
    with ExitStack() as stack:
        contexts = _open_contexts(stack, model, config, interrupt, kernels, times)
        contexts.for_each(lambda stopwatch: stopwatch.step(*((row, 0, 1) for row in rows)))
        contexts.for_each(Stopwatch.clear)
        contexts.time_decode("separate", *((row, 0) for row in rows))
        contexts.for_each(Stopwatch.clear)
        contexts.for_each(lambda stopwatch: stopwatch.step((0, 0, _SEQUENCE_TOKENS)))
        contexts.for_each(
            lambda stopwatch: stopwatch.share(-1, BATCH_ROWS)
        )  # separate buffers are copied as a whole, at the next step
        contexts.time_decode("deep separate", *((row, _SEQUENCE_TOKENS) for row in rows))
        return _time_copy(contexts.stopwatches[kernels[-1]])


def _time_copy(stopwatch: Stopwatch) -> float:
    """Return the seconds of copying a cell of a separate buffer."""
    end = _SEQUENCE_TOKENS + _PAIRS
    copied = min(stopwatch.time_copy(1, 0, (2, end)) for _ in range(_PAIRS))
    return max(0.0, copied - stopwatch.decode((2, end), tries=_PAIRS)) / _SEQUENCE_TOKENS
