"""tokens: how many tokens texts have. The backend only counts; nothing is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, iter_text_blocks
from llmcli.documents.records.record import ColumnType, Record
from llmcli.documents.text_cutting import cut_text
from llmcli.interrupt import check_interrupt
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.types import ItemFailed, Notice, Request, Result, TaskEvent

COLUMN = "tokens"
_PASSAGE_CHARACTERS = 50_000
"""A longer text is counted in passages: a backend may return a lower bound for one that does not fit its context."""
_BORDER_CHARACTERS = 256
"""The surroundings of a border between two passages, on each side: longer than any word."""


class TokenCounter(RecordProcessor):
    """Counts the tokens of texts: without the chat template, and without special tokens before them.

    It is the processor of records, which get the column ``tokens``.
    """

    columns: Mapping[str, ColumnType] = {COLUMN: int}

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._has_warned = False

    @cached_property
    def _special_tokens(self) -> int:
        return self._backend.count([Request("count", (), prompt="")])[0][0]

    def _count(self, text: str) -> tuple[int, bool]:
        (tokens,), is_exact = self._backend.count([Request("count", (), prompt=text)])
        return tokens - self._special_tokens, is_exact

    def count(self, texts: Iterable[str]) -> tuple[int, bool]:
        """Return the number of tokens of consecutive parts of a text, and whether it is exact.

        It is exact where the backend counts exactly, unless a word of the text is too long to be counted at once.
        """
        total, is_exact, before = 0, True, ""
        for passage in chain.from_iterable(
            cut_text(text, lambda part: len(part) <= _PASSAGE_CHARACTERS) for text in texts
        ):
            check_interrupt()
            tokens, counted = self._count(passage)
            is_exact &= counted
            if before:  # a border changes the tokens of the words around it: they are counted with and without it
                left, right = before[-_BORDER_CHARACTERS:], passage[:_BORDER_CHARACTERS]
                tokens += self._count(left + right)[0] - self._count(left)[0] - self._count(right)[0]
                is_exact &= left[-1].isspace() or right[0].isspace()
            total, before = total + tokens, passage
        return total, is_exact

    def fields(self, texts: Iterable[str]) -> dict[str, Any]:
        """Return a text's ``tokens``, their ``share`` of the model's ``context``, and whether they are ``exact``."""
        tokens, is_exact = self.count(texts)
        context = self._backend.info().context
        return {COLUMN: tokens, "context": context, "share": round(tokens / context, 4), "exact": is_exact}

    async def process(self, run: TaskRun, text: Document | StreamedFile | Record) -> Result:
        """Return the result of a text. It is reported once that numbers are estimates."""
        parts = [text.text] if isinstance(text, Record) else (block.text for block in iter_text_blocks(text))
        result = run.result(None, self.fields(parts))
        if not result.fields["exact"] and not self._has_warned:
            self._has_warned = True
            run.report(Notice("the number of tokens is an estimate", run.item))
        return result

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record of white space."""
        model = self._backend.info().model
        return Result(record.index, record.name, None, self.fields([record.text]), model=model, blank=True)


def count_tokens(backend: Backend, documents: Iterable[Document | StreamedFile | ItemFailed]) -> Iterator[TaskEvent]:
    """Yield a Result for each document, with the fields of ``TokenCounter.fields``, or ItemFailed."""
    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_inputs(backend, texts, TokenCounter(backend).process)
