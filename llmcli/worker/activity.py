"""What a worker has done and since when it has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Sequence

from llmcli.types import Event, Finished, FinishReason


class Activity:
    """Counted in the event loop: requests that ended, their tokens, the seconds in which any was running."""

    def __init__(self) -> None:
        self.started = time.time()
        self.requests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._running = 0
        self._since = time.monotonic()
        self._busy = 0.0

    def begin(self, requests: int = 1) -> None:
        """Requests have come."""
        now = time.monotonic()
        if self._running == 0:
            self._since = now
        self._running += requests

    def end(self, requests: int = 1) -> None:
        """Requests have ended, or whatever else ``begin`` was called for."""
        self._running -= requests
        if requests and self._running == 0:
            now = time.monotonic()
            self._busy += now - self._since
            self._since = now

    def count(self, events: Sequence[Event]) -> None:
        """Count the requests that end with these events."""
        ends = [event for event in events if isinstance(event, Finished)]
        for event in ends:
            self.requests += 1
            if event.reason is not FinishReason.CANCELLED or event.usage.completion_tokens:  # else hardly evaluated
                self.prompt_tokens += event.usage.prompt_tokens
            self.completion_tokens += event.usage.completion_tokens
        if ends:
            self.end(len(ends))

    def count_prompt(self, tokens: int) -> None:
        """Count a request that nothing was generated for."""
        self.requests += 1
        self.prompt_tokens += tokens

    @property
    def active(self) -> int:
        """Requests that are running or waiting."""
        return self._running

    @property
    def idle_seconds(self) -> float:
        """Seconds for which there was nothing to do; 0 while there is something."""
        return 0.0 if self._running else time.monotonic() - self._since

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens generated a second, of the time in which anything ran; None before there were any."""
        busy = self._busy + (time.monotonic() - self._since if self._running else 0.0)
        return self.completion_tokens / busy if self.completion_tokens and busy > 0 else None
