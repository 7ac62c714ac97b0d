"""The translation memory as a task uses it: what is the same everywhere, and writing many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from llmcli.documents.segments import Segment
from llmcli.errors import LlmError
from llmcli.store.memory import Entry, Memory, OutputRecord
from llmcli.tasks.languages import Language
from llmcli.tasks.translation.translator import Translator
from llmcli.tasks.translation.update import Row, Written

T = TypeVar("T")

_MOST_S = 0.2
"""Seconds after which translations are on disk: what a kill may cost."""
_SHARE = 0.1
"""Share of the time that writing them may take where it is quick: then each is on disk at once, or nearly."""


class Remembered:
    """What ``memory`` (None: nothing is remembered) knows of segments; where it is not ``writable`` it is only asked."""

    def __init__(self, memory: Memory | None, *, writable: bool = True) -> None:
        self._memory = memory
        self._fresh: list[Entry] = []
        self._flushed = self._cost = 0.0
        self._looks = not writable
        self._writable = writable
        self._prepared: dict[Path, OutputRecord] = {}
        self.trouble = ""
        """Why the memory could not be used, "" where it could."""
        self.outdated: list[Path] = []
        """Files that were replaced though what is remembered of them could not be changed."""

    def find(self, segment: Segment, source: Language | None, translator: Translator) -> str | None:
        """Return the translation of a segment."""
        if translator.instead is not None:
            return None
        languages = (source.code if source else "", translator.target.code)
        return self._read(lambda memory: memory.find(_key(segment), languages, translator.model_id, translator.variant))

    def add(self, segment: Segment, translation: str, source: Language | None, translator: Translator) -> None:
        """Remember what the model made of a segment."""
        if self._memory is None or translator.instead is not None:
            return
        self._fresh.append(_entry(segment, translation, source, translator))
        if time.monotonic() - self._flushed >= min(_MOST_S, self._cost / _SHARE):
            self.flush()

    def learn(self, edits: Sequence[tuple[str, str]], source: Language | None, translator: Translator) -> None:
        """Remember translations that people made: (source, translation)."""
        if translator.instead is not None or not edits:
            return
        languages = (source.code if source else "", translator.target.code)
        entries = [Entry(*languages, text, translation) for text, translation in edits]
        self._write(lambda memory: memory.add(entries))

    def prepare_output(self, output: Path, language: str, what: Written, stamp: str) -> None:
        """Have ready what will be remembered of the file ``output``, by ``placing``; ``stamp`` as in ``OutputRecord``."""
        texts = [[row.source, row.translation, row.key] for row in what.rows]
        self._prepared[output] = OutputRecord.of(output, language, texts, what.skeleton, stamp)

    @contextmanager
    def placing(self, output: Path) -> Iterator[None]:
        """Put the file ``output`` in place in this block, by a rename: then it is what was prepared that is remembered.

        Where the block fails, what was remembered of the file before holds on, since the file is as it was. A process
        that is killed in the block leaves nothing remembered: what a record of another text would have --update take for
        edits of people is text that llm made of another source.
        """
        record = self._prepared.pop(output, None)
        before = self._read(lambda memory: memory.output_record(output))
        if before is not None and before == record:
            yield
            return
        forgotten = before is None or self._write(lambda memory: memory.forget_output(output), again=True)
        try:
            yield
        except BaseException:
            if before is not None:
                self._write(lambda memory: memory.record_output(before), again=True)
            raise
        recorded = record is not None and self._write(lambda memory: memory.record_output(record), again=not forgotten)
        if not (forgotten or recorded):
            self.outdated.append(output)

    def last_written(self, output: Path | None, language: str) -> Written | None:
        """Return what was written to a file last; None where that is not known."""
        known = None if output is None else self._read(lambda memory: memory.last_written(output, language))
        if known is None:
            return None
        return Written([Row(row[0] or "", row[1], row[2] or "") for row in known[0]], known[1])

    def is_finished(self, output: Path, language: str, stamp: str) -> bool:
        """Return whether a file is what was written to it last, with nothing left undone."""
        return self._read(lambda memory: memory.stamp(output, language)) == stamp

    def flush(self) -> None:
        """Have on disk what was added."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        start = time.monotonic()
        self._write(lambda memory: memory.add(fresh))
        self._flushed = time.monotonic()
        self._cost = self._flushed - start

    def _read(self, question: Callable[[Memory], T]) -> T | None:
        """Ask the memory; where that fails the job goes on without, since its output is worth more."""
        if self._memory is None:
            return None
        try:
            return question(self._memory)
        except LlmError as error:
            self._memory = None
            self.trouble = error.detail or type(error).__name__
            return None

    def _write(self, change: Callable[[Memory], object], *, again: bool = False) -> bool:
        """Change the memory and return whether that was done; after a failure (a full disk) only ``again``."""
        if self._memory is None or self._looks or not (self._writable or again):
            return False
        try:
            change(self._memory)
        except LlmError as error:
            self._writable = False
            self.trouble = error.detail or type(error).__name__
            return False
        return True


def _key(segment: Segment) -> str:
    """Return what a translation is remembered by: the text, and a note that may give it another meaning."""
    return f"{segment.note}\x1e{segment.text}" if segment.note and segment.kind == "message" else segment.text


def _entry(segment: Segment, translation: str, source: Language | None, translator: Translator) -> Entry:
    code = source.code if source else ""
    return Entry(code, translator.target.code, _key(segment), translation, translator.model_id, translator.variant)
