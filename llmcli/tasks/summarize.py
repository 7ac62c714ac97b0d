"""summarize: a document of any length becomes a summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.backends.base import Backend
from llmcli.documents import Document
from llmcli.tasks.base import Options
from llmcli.templates import Library
from llmcli.types import ItemFailed, TaskEvent


def summarize(
    backend: Backend,
    prompts: Library,
    documents: Iterable[Document | ItemFailed],
    options: Options,
    *,
    words: int | None = None,
    style: str = "paragraph",
) -> Iterator[TaskEvent]:
    """Summarize each document; an ``ItemFailed`` among them (an unreadable file) is passed on in its place."""
    raise NotImplementedError
