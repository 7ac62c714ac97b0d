"""A backend that replaces private values before requests reach another backend, and restores them in the answers."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.backends.base import Backend
from llmcli.backends.redacting_job import RedactingJob
from llmcli.frozen_dataclass import replace
from llmcli.redaction.redactor import Redactor
from llmcli.redaction.request_redaction import redact_request
from llmcli.types import BackendInfo, BackendStats, Request


class RedactingBackend:
    """Wraps ``backend``, which sees no private value that ``redactor`` finds; all jobs share the placeholders."""

    def __init__(self, backend: Backend, redactor: Redactor, owned: Sequence[Backend] = ()) -> None:
        """``owned``: backends that ``redactor`` uses, which are closed too."""
        self._backend = backend
        self._redactor = redactor
        self._owned = owned

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._backend.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, as it would be sent, and whether they are exact."""
        return self._backend.count([redact_request(self._redactor, request).request for request in requests])

    def open(self) -> RedactingJob:
        """Open a job."""
        return RedactingJob(self._backend.open(), self._redactor)

    def stats(self) -> BackendStats:
        """Statistics of the backend, and how many values were replaced."""
        stats = self._backend.stats()
        counts = self._redactor.table.counts
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
        return replace(stats, choices=(*stats.choices, f"private values replaced before sending: {said}"))

    def close(self) -> None:
        """Close the backend, and those that the redactor uses."""
        for backend in (self._backend, *self._owned):
            backend.close()
