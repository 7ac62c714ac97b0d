"""Combines the progress of requests into the progress of a job."""

from __future__ import annotations

from llmcli.types import Phase, Progress, RequestProgress

_UNIT = "tokens"


def progress_of_request(event: RequestProgress, label: str = "") -> Progress:
    """Return the progress of a job that is one request; ``label`` names its step of the job."""
    if event.phase is Phase.QUEUED:
        return Progress(event.ahead, None, "requests", label, Phase.QUEUED)
    return Progress(event.done, event.total, _UNIT, label, event.phase)


class StepProgress:
    """The combined progress of the requests of one step.

    While any prompt is not fully evaluated the step is READING, then WRITING; QUEUED while no request runs.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._read: dict[str, tuple[int, int]] = {}  # (evaluated prompt tokens, all prompt tokens)
        self._written: dict[str, int] = {}
        self._ahead: dict[str, int] = {}  # of requests that have not started
        self._last: RequestProgress | None = None

    def update(self, event: RequestProgress) -> None:
        """Add the progress of one request."""
        self._last = event
        done, total = self._read.get(event.id, (0, 0))
        if event.phase is Phase.QUEUED:
            if event.id not in self._read or event.id in self._ahead:
                self._ahead[event.id] = event.ahead
            self._read[event.id] = done, event.total or total
        else:
            self._ahead.pop(event.id, None)
            if event.phase is Phase.READING:
                self._read[event.id] = event.done, event.total or total
            else:
                self._read[event.id] = total, total
                self._written[event.id] = event.done

    def mark_finished(self, request_id: str) -> None:
        """Count the prompt of a finished request as fully evaluated."""
        _, total = self._read.get(request_id, (0, 0))
        self._read[request_id] = total, total
        self._ahead.pop(request_id, None)

    @property
    def current(self) -> Progress:
        """The progress of all requests."""
        if self._last is not None and len(self._read) == 1 and self._last.phase is not Phase.QUEUED:
            return progress_of_request(self._last, self._label)
        if self._ahead and len(self._ahead) == len(self._read):
            return Progress(min(self._ahead.values()), None, "requests", self._label, Phase.QUEUED)
        done, total = (sum(counts) for counts in zip(*self._read.values(), strict=True))
        if done < total:
            return Progress(done, total, _UNIT, self._label, Phase.READING)
        return Progress(sum(self._written.values()), None, _UNIT, self._label, Phase.WRITING)
