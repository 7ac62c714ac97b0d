"""Verbs that answer each record with a text: the answer is one column of a table, or a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record
from llmcli.errors import ContextOverflow
from llmcli.types import Request, Result


class TextVerb:
    """The common part of such verbs; ``column`` is the name of the column."""

    single_request = False

    def __init__(self, backend: Backend, prompt: str, column: str) -> None:
        self.columns: Mapping[str, type] = {column: str}
        self.backend = backend
        self.prompt_name = prompt
        self._column = column

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        model = self.backend.info().model
        return Result(record.index, record.name, None, model=model, prompt=self.prompt_name, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the text."""
        return {self._column: result.text}

    def line(self, result: Result) -> str:
        """Return the text; the writer of lines replaces its line breaks."""
        return result.text or ""


def require_fit(backend: Backend, request: Request, name: str) -> Request:
    """Return the request. Raises ``ContextOverflow`` if its prompt does not fit, unless the backend refuses it itself."""
    info = backend.info()
    if not info.rejects_overflow:
        (tokens,), _ = backend.count([request])
        if tokens >= info.context:
            raise ContextOverflow(name, tokens=tokens, context=info.context)
    return request
