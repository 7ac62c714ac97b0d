"""generate: a kind of text (one prompt file each) and its variables become that text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmcli.backends.base import Backend
from llmcli.tasks.base import Options
from llmcli.templates import Library
from llmcli.types import TaskEvent


def generate(
    backend: Backend, prompts: Library, kind: str, variables: Mapping[str, str], text: str | None, options: Options
) -> Iterator[TaskEvent]:
    """Write a text of ``kind``; ``text`` is what stdin held, None when it was not read."""
    raise NotImplementedError
