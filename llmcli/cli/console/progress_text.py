"""The text of the status line: what a job is doing, its progress, rate, time left and time elapsed."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from llmcli.cli.console import sanitize, wrapping
from llmcli.cli.console.messages import message_text
from llmcli.types import Phase, Progress

_RATE_WINDOW_S = 15.0
"""Seconds over which a rate is measured: recent, since other jobs come and go."""
_MIN_COUNTS = 4
"""Minimum number of counts in a rate if they are rare."""
_MIN_COUNT_GAP_S = 0.1
"""Seconds between two counts that are kept."""
_MIN_RATE_S = 0.5
"""Seconds before a rate is shown."""
_BAR_COLUMNS = (20, 10)
"""Possible widths of a bar in columns: few, so that it does not change with every digit beside it."""
_MIN_LABEL_COLUMNS = 8
_MIN_CURRENT_COLUMNS = 12
_MAX_CURRENT_COLUMNS, _MAX_CURRENT_CHARS = 40, 200
"""Columns for the beginning of the unit that is worked on."""
_MAX_LABEL_FRACTION = 3
"""A name takes at most a third of the columns."""
_PER_MINUTE_BELOW = 0.95
"""Units per second below which the rate is shown per minute."""

_PHASE_TEXT = {
    Phase.WORKING: "working",
    Phase.STARTING: "starting a worker for {label}",
    Phase.WAITING: "waiting for {label}",
    Phase.DERIVING: "storing {label}",
}
_PERCENT_PHASES = {Phase.LOADING, Phase.DERIVING}
_TOKEN_PHASES = {Phase.READING, Phase.THINKING, Phase.WRITING}


class RateEstimator:
    """How fast a count grows."""

    def __init__(self) -> None:
        self._counts: collections.deque[tuple[float, int]] = collections.deque()

    def add(self, now: float, done: int) -> None:
        """Add a count at a time in seconds. A smaller count starts a new series."""
        if self._counts and done < self._counts[-1][1]:
            self._counts.clear()
        if self._counts and done == self._counts[-1][1]:
            return
        if len(self._counts) > 1 and now - self._counts[-2][0] < _MIN_COUNT_GAP_S:
            self._counts.pop()
        self._counts.append((now, done))
        while len(self._counts) > _MIN_COUNTS and now - self._counts[1][0] >= _RATE_WINDOW_S:
            self._counts.popleft()

    def rate(self, now: float) -> float | None:
        """Return units per second, None while unknown.

        Between two counts it stays constant; if the next one is late, it falls.
        """
        if len(self._counts) < 2:  # noqa: PLR2004 (a difference)
            return None
        (start, first), (end, last) = self._counts[0], self._counts[-1]
        seconds = end - start + max(0.0, now - end - self._late_after_s)
        return (last - first) / seconds if seconds >= _MIN_RATE_S else None

    def seconds_left(self, now: float, progress: Progress) -> float | None:
        """Return the estimated seconds left of ``progress``, the source of these counts."""
        rate = self.rate(now)
        if rate is None or progress.total is None:
            return None
        gone = min(now - self._counts[-1][0], self._late_after_s)
        return max(0.0, (progress.total - progress.done) / rate - gone)

    @property
    def _late_after_s(self) -> float:
        """Seconds after which the next count is late: twice the interval between two."""
        return 2 * (self._counts[-1][0] - self._counts[0][0]) / (len(self._counts) - 1)


def status_text(
    job: Progress | None,
    step: Progress | None,
    *,
    rate: float | None,
    left: float | None,
    elapsed: float,
    columns: int,
    bar: bool = True,
    tokens_rate: float | None = None,
) -> str:
    """Return one line about a job, a step of it, or both, and the beginning of the unit that the job works on.

    ``rate``: that of ``rated_progress``; ``tokens_rate``: of its tokens, which tells more than that of its units.
    ``left`` and ``elapsed``: seconds.
    ``columns``: most columns of the line; what does not fit is left out, the least important first.
    ``bar``: begin with a bar where there is room for one.
    """
    took = f"{format_duration(elapsed)} elapsed"
    remains = "" if left is None else f"{format_estimate(left)} left"
    of = rated_progress(job, step)
    pace = "" if rate is None or of is None else f" ({_format_unit_rate(rate, of.unit)})"
    if tokens_rate is not None:
        pace = f" ({_format_unit_rate(tokens_rate, 'tokens').replace('/', ' tokens/')})"
    long, short = _format_head(job, step, columns, short=False), _format_head(job, step, columns, short=True)
    wanted: Iterator[tuple[str, ...]] = iter(
        (
            (long + pace, remains, took),
            (long, remains, took),
            (short + pace, remains, took),
            (short, remains, took),
            (short, remains or format_duration(elapsed)),
            (short,),
        )
    )
    texts = (", ".join(filter(None, parts)) for parts in wanted)
    text = next((text for text in texts if wrapping.display_width(text) <= columns), None)
    if text is None:
        return wrapping.truncate(short, columns)
    room = min(_MAX_CURRENT_COLUMNS, columns - wrapping.display_width(text) - len(": "))
    current = sanitize.single_line(job.current[:_MAX_CURRENT_CHARS]) if job is not None else ""
    if current and room >= _MIN_CURRENT_COLUMNS:
        text += f": {wrapping.truncate(current, room)}"
    if not bar:
        return text
    return _format_bar(job, step, columns - wrapping.display_width(text) - 1) + text


def rated_progress(job: Progress | None, step: Progress | None) -> Progress | None:
    """Return whichever of a job and its step has the relevant rate: the step if it counts tokens."""
    return step if step is not None and step.phase in _TOKEN_PHASES else job


def format_duration(seconds: float) -> str:
    """Return a time in whole seconds, minutes and seconds, or hours and minutes."""
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004 (seconds)
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 (minutes)
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_estimate(seconds: float) -> str:
    """Return an estimate, rounded since it is not exact."""
    return format_duration(seconds) if seconds < 120 else format_duration(60 * round(seconds / 60)).removesuffix(" 0 s")  # noqa: PLR2004 (seconds)


def _format_head(job: Progress | None, step: Progress | None, columns: int, *, short: bool) -> str:
    room = max(_MIN_LABEL_COLUMNS, columns // _MAX_LABEL_FRACTION)
    parts = [] if job is None else [_format_count(job, room, short=short or step is not None)]
    if step is not None:
        parts.append(_format_step(step, room, short=short))
    return ", ".join(parts)


def _format_count(job: Progress, room: int, *, short: bool) -> str:
    label = sanitize.single_line(job.label)
    name = f"{wrapping.truncate(label, room)}: " if label else ""
    if job.unit == "bytes":
        done, of = (
            message_text.format_bytes(job.done),
            "" if job.total is None else f" of {message_text.format_bytes(job.total)}",
        )
        return f"{name}{_format_share(job)}" if short and job.total else f"{name}{done}{of}"
    if job.total is None:
        return f"{name}{job.done:,} {job.unit}"
    return f"{name}{job.done:,} of {'about ' if job.estimated else ''}{job.total:,} {job.unit}"


def _format_step(step: Progress, room: int, *, short: bool) -> str:
    name = step.label.rpartition("/")[2] if step.label.startswith("/") else step.label  # a file's path
    label = wrapping.truncate(sanitize.single_line(name), room)
    if step.phase in _TOKEN_PHASES:
        name = f"{label}: " if label else ""
        return f"{name}{step.phase} {_format_tokens(step, short=short)}".rstrip()
    if step.phase is Phase.QUEUED:
        requests = "request" if step.done == 1 else "requests"
        return f"queued, {step.done:,} {requests} ahead" if step.done else "queued, next in line"
    text = _PHASE_TEXT.get(step.phase, "{phase} {label}") if step.phase is not None else ""
    loaded = f": {step.done}%" if step.phase in _PERCENT_PHASES and step.done else ""
    return text.format(phase=step.phase, label=label).rstrip() + loaded


def _format_tokens(step: Progress, *, short: bool) -> str:
    if step.total is None:
        return f"{step.done:,} {'token' if step.done == 1 else 'tokens'}" if step.done else ""
    return _format_share(step) if short else f"{step.done:,} of {step.total:,} tokens"


def _format_share(progress: Progress) -> str:
    return f"{100 * progress.done // max(1, progress.total or 0)}%"


def _format_unit_rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{message_text.format_bytes(rate)}/s"
    if rate < _PER_MINUTE_BELOW:
        return f"{60 * rate:.1f}/min"
    return f"{rate:.1f}/s" if rate < 10 else f"{rate:,.0f}/s"  # noqa: PLR2004 (two digits)


def _format_bar(job: Progress | None, step: Progress | None, room: int) -> str:
    """Return a bar followed by a blank, "" if there is no room for one or nothing to show."""
    of = step if step is not None and step.total else job
    columns = next((size for size in _BAR_COLUMNS if size <= room), 0)
    if of is None or not of.total or not columns or (of.phase in _PERCENT_PHASES and not of.done):
        return ""
    done = min(columns, columns * of.done // of.total)
    return "━" * done + "─" * (columns - done) + " "
