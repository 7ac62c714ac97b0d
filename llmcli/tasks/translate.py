"""translate: the same documents in another language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.backends.base import Backend
from llmcli.documents import Document
from llmcli.tasks.base import Options
from llmcli.tasks.languages import Language
from llmcli.templates import Library
from llmcli.types import ItemFailed, TaskEvent


def translate(
    backend: Backend,
    prompts: Library,
    documents: Iterable[Document | ItemFailed],
    options: Options,
    *,
    to: Language,
    source: Language | None = None,
) -> Iterator[TaskEvent]:
    """Translate each document; an ``ItemFailed`` among them (an unreadable file) is passed on in its place."""
    raise NotImplementedError
