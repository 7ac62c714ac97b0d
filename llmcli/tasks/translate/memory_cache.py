"""The task's view of the translation memory: lookups, and batched writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from llmcli.documents.segments import Segment
from llmcli.errors import LlmError
from llmcli.fast_dataclass import frozen
from llmcli.store.translation_memory import OutputRecord, TranslationMemory, TranslationUnit
from llmcli.tasks.languages import Language
from llmcli.tasks.translate.translator import Translator

T = TypeVar("T")

_NOTE_END = "\x1e"
"""What separates a note from its text in the key of a translation."""
_MAX_UNFLUSHED_S = 0.2
"""Seconds after which translations are on disk: what a kill may lose."""
_MAX_FLUSH_SHARE = 0.1
"""Share of the time that quick writes may take: then each translation is on disk almost at once."""


@frozen
class RecordedSegment:
    """A segment as it was written: ``translation`` is None if it was left in the source language."""

    source: str
    translation: str | None
    key: str


@frozen
class PreviousOutput:
    """What was last written to a file; ``skeleton_digest`` identifies the text between segments, "" if unknown."""

    rows: Sequence[RecordedSegment]
    skeleton_digest: str


class TranslationMemoryCache:
    """Lookups in ``memory`` (None: no memory), and writes to it unless it is read-only."""

    def __init__(self, memory: TranslationMemory | None, *, writable: bool = True) -> None:
        self._memory = memory
        self._unsaved: list[TranslationUnit] = []
        self._flushed_at = self._flush_s = 0.0
        self._read_only = not writable
        self._writable = writable
        self._prepared: dict[Path, OutputRecord] = {}
        self._planned: set[Hashable] = set()
        self.failure_detail = ""
        """Why the memory could not be used, "" if it could."""
        self.outdated_outputs: list[Path] = []
        """Files that were replaced although their records could not be changed."""

    @property
    def keeps_records(self) -> bool:
        """Whether there is a memory, which may know how an output was made."""
        return self._memory is not None

    def find(self, segment: Segment, source: Language | None, translator: Translator) -> str | None:
        """Return the translation of a segment."""
        if translator.stub_translate is not None:
            return None
        languages = (source.code if source else "", translator.target.code)
        return self._read(
            lambda memory: memory.find_translation(
                _memory_key(segment), languages, translator.model_id, translator.cache_key
            )
        )

    def is_planned(self, segment: Segment, source: Language | None, translator: Translator) -> bool:
        """Return whether an estimate has asked for the same translation before, which a run may find by then."""
        if self._memory is None:
            return False
        key = (_memory_key(segment), source, translator.target.code, translator.cache_key)
        if key in self._planned:
            return True
        self._planned.add(key)
        return False

    def add(
        self,
        segment: Segment,
        translation: str,
        source: Language | None,
        translator: Translator,
    ) -> None:
        """Store the model's translation of a segment."""
        if self._memory is None or translator.stub_translate is not None:
            return
        self._unsaved.append(_memory_entry(segment, translation, source, translator))
        if time.monotonic() - self._flushed_at >= min(_MAX_UNFLUSHED_S, self._flush_s / _MAX_FLUSH_SHARE):
            self.flush()

    def add_edits(self, edits: Sequence[tuple[str, str]], source: Language | None, translator: Translator) -> None:
        """Store people's translations: (source, translation)."""
        if translator.stub_translate is not None or not edits:
            return
        languages = (source.code if source else "", translator.target.code)
        entries = [TranslationUnit(*languages, text, translation) for text, translation in edits]
        self._write(lambda memory: memory.add_units(entries))

    def prepare_output(
        self,
        output: Path,
        language: str,
        what: PreviousOutput,
        stamp: str,
    ) -> None:
        """Prepare the record of the file ``output`` for ``record_on_rename``; ``stamp`` as in ``OutputRecord``."""
        texts = [[row.source, row.translation, row.key] for row in what.rows]
        self._prepared[output] = OutputRecord.for_file(output, language, texts, what.skeleton_digest, stamp)

    @contextmanager
    def record_on_rename(self, output: Path) -> Iterator[None]:
        """Record the file ``output``, which this block renames to its final name.

        If the block fails, the earlier record is kept, since the file has not changed. If the process is killed in the
        block, there is no record: with the record of another text, --update would mistake llm's own text for edits by
        people.
        """
        record = self._prepared.pop(output, None)
        before = self._read(lambda memory: memory.get_output(output))
        if before is not None and before == record:
            yield
            return
        forgotten = before is None or self._write(lambda memory: memory.forget_output(output), again=True)
        try:
            yield
        except BaseException:
            if before is not None:
                self._write(lambda memory: memory.save_output(before), again=True)
            raise
        recorded = record is not None and self._write(lambda memory: memory.save_output(record), again=not forgotten)
        if not (forgotten or recorded):
            self.outdated_outputs.append(output)

    def previous_output(self, output: Path | None, language: str) -> PreviousOutput | None:
        """Return what was last written to a file; None if unknown."""
        known = None if output is None else self._read(lambda memory: memory.last_output_texts(output, language))
        if known is None:
            return None
        return PreviousOutput([RecordedSegment(row[0] or "", row[1], row[2] or "") for row in known[0]], known[1])

    def sources_by_translation(self, language: str) -> dict[str, set[str]]:
        """Return the texts of which each translation into a language was made."""
        found: dict[str, set[str]] = {}
        for unit in self._read(lambda memory: list(memory.iter_units())) or ():
            if unit.target_language == language:
                found.setdefault(unit.translation, set()).add(unit.source.rpartition(_NOTE_END)[2])
        return found

    def is_finished(self, output: Path, language: str, stamp: str) -> bool:
        """Return whether a file is unchanged since it was written, and fully translated."""
        return self._read(lambda memory: memory.output_stamp(output, language)) == stamp

    def flush(self) -> None:
        """Write the added translations to the disk."""
        fresh, self._unsaved = self._unsaved, []
        if not fresh:
            return
        start = time.monotonic()
        self._write(lambda memory: memory.add_units(fresh))
        self._flushed_at = time.monotonic()
        self._flush_s = self._flushed_at - start

    def _read(self, question: Callable[[TranslationMemory], T]) -> T | None:
        """Query the memory; after a failure the job continues without it, since its output matters more."""
        if self._memory is None:
            return None
        try:
            return question(self._memory)
        except LlmError as error:
            self._memory = None
            self.failure_detail = error.detail or error.type_name
            return None

    def _write(self, change: Callable[[TranslationMemory], object], *, again: bool = False) -> bool:
        """Change the memory and return whether that succeeded; after a failure (a full disk) only with ``again``."""
        if self._memory is None or self._read_only or not (self._writable or again):
            return False
        try:
            change(self._memory)
        except LlmError as error:
            self._writable = False
            self.failure_detail = error.detail or error.type_name
            return False
        return True


def _memory_key(segment: Segment) -> str:
    """Return the source key of a translation: the text, and a note that may change its meaning."""
    return f"{segment.note}{_NOTE_END}{segment.text}" if segment.note and segment.kind == "message" else segment.text


def _memory_entry(
    segment: Segment, translation: str, source: Language | None, translator: Translator
) -> TranslationUnit:
    code = source.code if source else ""
    return TranslationUnit(
        code, translator.target.code, _memory_key(segment), translation, translator.model_id, translator.cache_key
    )
