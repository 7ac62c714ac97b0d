"""sentiment: a label and its probabilities for each record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.backends.base import Backend
from llmcli.documents import Record
from llmcli.tasks.base import Options
from llmcli.templates import Library
from llmcli.types import TaskEvent


def sentiment(backend: Backend, prompts: Library, records: Iterable[Record], options: Options) -> Iterator[TaskEvent]:
    """Score each record; one Result a record: fields ``label`` (None for a blank record) and ``probabilities``."""
    raise NotImplementedError
