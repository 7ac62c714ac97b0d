"""ask: a question, with or without documents, becomes one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents import Document
from llmcli.tasks.base import Options
from llmcli.templates import Library
from llmcli.types import TaskEvent


def ask(
    backend: Backend, prompts: Library, question: str, documents: Sequence[Document], options: Options
) -> Iterator[TaskEvent]:
    """Answer ``question`` about ``documents`` (may be none)."""
    raise NotImplementedError
