"""The words of the status line: what a job is doing, how far it is, how fast, how long still, and how long so far."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from llmcli.cli import sanitize, wording, wrapping
from llmcli.types import Phase, Progress

_WINDOW_S = 15.0
"""Seconds over which a rate is taken: the pace of now, since other jobs come and go."""
_LEAST_COUNTS = 4
"""Counts of which it is taken where they come seldom."""
_GRAIN_S = 0.1
"""Seconds between two counts that are kept."""
_LEAST_S = 0.5
"""Seconds before a rate is told."""
_BARS = (20, 10)
"""Columns that a bar may take: few choices, so that it does not change with every digit beside it."""
_LEAST_LABEL = 8
_LABEL_SHARE = 3
"""A name takes one column in three at most."""
_SLOW = 0.95
"""Units a second below which they are counted by the minute."""

_WORDS = {
    Phase.WORKING: "working",
    Phase.STARTING: "starting a worker for {label}",
    Phase.WAITING: "waiting for {label}",
}
_COUNTED = {Phase.READING, Phase.THINKING, Phase.WRITING}


class Pace:
    """How fast a count grows."""

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, int]] = collections.deque()

    def add(self, now: float, done: int) -> None:
        """Take a count at a time in seconds. One that fell belongs to another count."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        if self._seen and done == self._seen[-1][1]:
            return
        if len(self._seen) > 1 and now - self._seen[-2][0] < _GRAIN_S:
            self._seen.pop()
        self._seen.append((now, done))
        while len(self._seen) > _LEAST_COUNTS and now - self._seen[1][0] >= _WINDOW_S:
            self._seen.popleft()

    def rate(self, now: float) -> float | None:
        """Return units a second, None while that is not known.

        Between two counts it stays as it is; when the next one is late, it falls.
        """
        if len(self._seen) < 2:  # noqa: PLR2004 (a difference)
            return None
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        seconds = end - start + max(0.0, now - end - self._patience)
        return (last - first) / seconds if seconds >= _LEAST_S else None

    def left(self, now: float, progress: Progress) -> float | None:
        """Return about how many seconds are left of ``progress``, whose counts these are."""
        rate = self.rate(now)
        if rate is None or progress.total is None:
            return None
        gone = min(now - self._seen[-1][0], self._patience)
        return max(0.0, (progress.total - progress.done) / rate - gone)

    @property
    def _patience(self) -> float:
        """Seconds until the next count is late: twice what lies between two."""
        return 2 * (self._seen[-1][0] - self._seen[0][0]) / (len(self._seen) - 1)


def status_text(
    job: Progress | None,
    step: Progress | None,
    *,
    rate: float | None,
    left: float | None,
    elapsed: float,
    columns: int,
) -> str:
    """Return one line of at most ``columns`` columns about a job, a step of it, or both.

    ``rate`` is that of ``measured``; ``left`` and ``elapsed`` in seconds. What there is no room for is left out, what
    matters least first.
    """
    took = f"{duration(elapsed)} elapsed"
    remains = "" if left is None else f"{_about(left)} left"
    of = measured(job, step)
    pace = "" if rate is None or of is None else f" ({_rate(rate, of.unit)})"
    long, short = _head(job, step, columns, short=False), _head(job, step, columns, short=True)
    wanted: Iterator[tuple[str, ...]] = iter(
        (
            (long + pace, remains, took),
            (long, remains, took),
            (short + pace, remains, took),
            (short, remains, took),
            (short, remains or duration(elapsed)),
            (short,),
        )
    )
    texts = (", ".join(filter(None, parts)) for parts in wanted)
    text = next((text for text in texts if wrapping.width(text) <= columns), None)
    if text is None:
        return wrapping.cut(short, columns)
    return _bar(job, step, columns - wrapping.width(text) - 1) + text


def measured(job: Progress | None, step: Progress | None) -> Progress | None:
    """Return that of a job and its step whose rate is of interest: the step where it counts tokens."""
    return step if step is not None and step.phase in _COUNTED else job


def duration(seconds: float) -> str:
    """Return a time in whole seconds, minutes and seconds, or hours and minutes."""
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _about(seconds: float) -> str:
    """Return an estimate, which need not be told to the second."""
    return duration(seconds) if seconds < 120 else duration(60 * round(seconds / 60)).removesuffix(" 0 s")  # noqa: PLR2004


def _head(job: Progress | None, step: Progress | None, columns: int, *, short: bool) -> str:
    room = max(_LEAST_LABEL, columns // _LABEL_SHARE)
    parts = [] if job is None else [_counted(job, room, short=short or step is not None)]
    if step is not None:
        parts.append(_step(step, room, short=short))
    return ", ".join(parts)


def _counted(job: Progress, room: int, *, short: bool) -> str:
    label = sanitize.line(job.label)
    name = f"{wrapping.cut(label, room)}: " if label else ""
    if job.unit == "bytes":
        done, of = wording.size(job.done), "" if job.total is None else f" of {wording.size(job.total)}"
        return f"{name}{_share(job)}" if short and job.total else f"{name}{done}{of}"
    if job.total is None:
        return f"{name}{job.done:,} {job.unit}"
    between = "/" if short else " of "
    return f"{name}{job.done:,}{between}{job.total:,} {job.unit}"


def _step(step: Progress, room: int, *, short: bool) -> str:
    label = wrapping.cut(sanitize.line(step.label), room)
    if step.phase in _COUNTED:
        name = f"{label}: " if label else ""
        return f"{name}{step.phase} {_tokens(step, short=short)}".rstrip()
    if step.phase is Phase.QUEUED:
        requests = "request" if step.done == 1 else "requests"
        return f"queued, {step.done:,} {requests} ahead" if step.done else "queued, next in line"
    text = _WORDS.get(step.phase, "{phase} {label}") if step.phase is not None else ""
    loaded = f": {step.done}%" if step.phase is Phase.LOADING and step.done else ""
    return text.format(phase=step.phase, label=label).rstrip() + loaded


def _tokens(step: Progress, *, short: bool) -> str:
    if step.total is None:
        return f"{step.done:,} {'token' if step.done == 1 else 'tokens'}" if step.done else ""
    return _share(step) if short else f"{step.done:,} of {step.total:,} tokens"


def _share(progress: Progress) -> str:
    return f"{100 * progress.done // max(1, progress.total or 0)}%"


def _rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{wording.size(rate)}/s"
    if rate < _SLOW:
        return f"{60 * rate:.1f}/min"
    return f"{rate:.1f}/s" if rate < 10 else f"{rate:,.0f}/s"  # noqa: PLR2004


def _bar(job: Progress | None, step: Progress | None, room: int) -> str:
    """Return a bar with a blank behind it, "" where there is no room for one or nothing to show."""
    of = step if step is not None and step.total else job
    columns = next((size for size in _BARS if size <= room), 0)
    if of is None or not of.total or not columns or (of.phase is Phase.LOADING and not of.done):
        return ""
    done = min(columns, columns * of.done // of.total)
    return "━" * done + "─" * (columns - done) + " "
