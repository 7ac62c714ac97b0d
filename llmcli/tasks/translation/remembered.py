"""The translation memory as a task uses it: what is the same everywhere, and writing many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmcli.documents.segments import Segment
from llmcli.errors import LlmError
from llmcli.store.memory import Entry, Memory
from llmcli.tasks.languages import Language
from llmcli.tasks.translation.translator import Translator
from llmcli.tasks.translation.update import Row, Written

_MOST_S = 0.2
"""Seconds after which translations are on disk: what a kill may cost."""
_SHARE = 0.1
"""Share of the time that writing them may take where it is quick: then each is on disk at once, or nearly."""


class Remembered:
    """What ``memory`` (None: nothing is remembered) knows of segments."""

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self._fresh: list[Entry] = []
        self._flushed = self._cost = 0.0
        self._trouble = ""

    def find(self, segment: Segment, source: Language | None, translator: Translator) -> str | None:
        """Return the translation of a segment."""
        if self._memory is None or translator.instead is not None:
            return None
        languages = (source.code if source else "", translator.target.code)
        return self._memory.find(_key(segment), languages, translator.model_id, translator.variant)

    def add(self, segment: Segment, translation: str, source: Language | None, translator: Translator) -> None:
        """Remember what the model made of a segment."""
        if self._memory is None or translator.instead is not None:
            return
        self._fresh.append(_entry(segment, translation, source, translator))
        if time.monotonic() - self._flushed >= min(_MOST_S, self._cost / _SHARE):
            self.flush()

    def learn(self, edits: Sequence[tuple[str, str]], source: Language | None, translator: Translator) -> None:
        """Remember translations that people made: (source, translation)."""
        if self._memory is None or translator.instead is not None or not edits:
            return
        languages = (source.code if source else "", translator.target.code)
        entries = [Entry(*languages, text, translation) for text, translation in edits]
        self._write(lambda memory: memory.add(entries))

    def written(self, output: Path | None, language: str, what: Written, stamp: str) -> None:
        """Remember what the file ``output`` will hold; ``stamp`` as in ``Memory.written``."""
        if self._memory is not None and output is not None:
            texts = [[row.source, row.translation, row.key] for row in what.rows]
            self._write(lambda memory: memory.written(output, language, texts, what.skeleton, stamp))

    def last_written(self, output: Path | None, language: str) -> Written | None:
        """Return what was written to a file last; None where that is not known."""
        known = None if self._memory is None or output is None else self._memory.last_written(output, language)
        if known is None:
            return None
        return Written([Row(row[0] or "", row[1], row[2] or "") for row in known[0]], known[1])

    def is_finished(self, output: Path, language: str, stamp: str) -> bool:
        """Return whether a file is what was written to it last, with nothing left undone."""
        return self._memory is not None and self._memory.stamp(output, language) == stamp

    def flush(self) -> None:
        """Have on disk what was added."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        start = time.monotonic()
        self._write(lambda memory: memory.add(fresh))
        self._flushed = time.monotonic()
        self._cost = self._flushed - start

    def trouble(self) -> str:
        """Return why the memory could not be written, once."""
        trouble, self._trouble = self._trouble, ""
        return trouble

    def _write(self, change: Callable[[Memory], object]) -> None:
        """Change the memory; where that fails (a full disk) the job goes on without, since its output is worth more."""
        if self._memory is None:
            return
        try:
            change(self._memory)
        except LlmError as error:
            self._memory = None
            self._trouble = error.detail or type(error).__name__


def _key(segment: Segment) -> str:
    """Return what a translation is remembered by: the text, and a note that may give it another meaning."""
    return f"{segment.note}\x1e{segment.text}" if segment.note and segment.kind == "message" else segment.text


def _entry(segment: Segment, translation: str, source: Language | None, translator: Translator) -> Entry:
    code = source.code if source else ""
    return Entry(code, translator.target.code, _key(segment), translation, translator.model_id, translator.variant)
