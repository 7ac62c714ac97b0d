"""The output file of a translation: its earlier content, whether it is finished, and what can be carried over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from llmcli.documents.format_registry import find_format
from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.reading.document import Document
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument, WouldLoseEdits
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.translation.languages import Language
from llmcli.tasks.translation.per_file.bilingual import OutputLayout
from llmcli.tasks.translation.per_file.carry_over import (
    AlignmentError,
    CarriedTranslations,
    PreviousOutput,
    RecordedSegment,
    align_by_key,
    align_by_position,
    digest_skeleton,
    segment_keys,
)
from llmcli.tasks.translation.per_file.memory_cache import TranslationMemoryCache
from llmcli.tasks.translation.translator import Translator


@frozen
class TranslationSpec:
    """A document to translate with ``translator``.

    ``source`` None: detected. ``format_name`` None: found by name and content. ``output``: the output file, which the
    memory records; ``earlier``: its present content. With ``keep_existing`` it must not change: a finished file is a
    result without text, any other file is refused. Otherwise its text is kept where the source did not change.
    """

    document: Document
    translator: Translator
    source: Language | None = None
    format_name: str | None = None
    layout: OutputLayout = OutputLayout.TRANSLATION
    earlier: Document | None = None
    output: Path | None = None
    keep_existing: bool = False

    @property
    def name(self) -> str:
        """The name of the document."""
        return self.document.name

    def find_format(self) -> DocumentFormat:
        """Return the format of the document. Raises ``UsageError`` if there is none called ``format_name``."""
        return find_format(self.document.name, self.document.text, self.format_name or self.document.format_name)


class TargetFile:
    """The output of a translation; without ``output`` nothing is known or recorded about it."""

    def __init__(self, spec: TranslationSpec, remembered: TranslationMemoryCache) -> None:
        self._spec = spec
        self._memory = remembered
        self._target = spec.translator.target.code

    def text_to_translate(self, form: DocumentFormat) -> str:
        """Return the text to translate: the document, merged with the earlier output if that holds both languages.

        Raises ``BadDocument`` for the earlier output.
        """
        earlier, text = self._spec.earlier, self._spec.document.text
        if earlier is None or self._spec.keep_existing or not form.holds_both_languages:
            return text
        form.split(text, self._target)  # raises for the document itself
        try:
            return form.merge_earlier(earlier.text, text)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error

    def is_finished(self, text: str, form: DocumentFormat) -> bool:
        """Return whether the file is unchanged since llm wrote it, fully translated from ``text``."""
        output, earlier = self._spec.output, self._spec.earlier
        if output is None or earlier is None:
            return False
        return self._memory.is_finished(output, self._target, self._fingerprint(text, earlier.text, form))

    def carry_over(
        self, segments: Sequence[Segment], source: Language | None, form: DocumentFormat
    ) -> CarriedTranslations:
        """Return the translations to carry over, and store the edits that people made.

        Raises ``WouldLoseEdits``, and ``BadDocument`` for the earlier output.
        """
        earlier = self._spec.earlier
        if earlier is None or form.holds_both_languages:  # it was merged with the document
            return CarriedTranslations()
        written = self._memory.previous_output(self._spec.output, self._target)
        try:
            carried = run_interruptible(self._align, earlier.text, segments, written, form)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error
        except AlignmentError as error:
            raise WouldLoseEdits(earlier.name, detail=str(error)) from error
        self._memory.add_edits(carried.edits, source, self._spec.translator)
        return carried

    def _align(
        self, earlier: str, segments: Sequence[Segment], written: PreviousOutput | None, form: DocumentFormat
    ) -> CarriedTranslations:
        theirs = form.split(earlier, self._target)
        if form.is_keyed:
            return align_by_key(segments, theirs, written)
        return align_by_position(segments, earlier, theirs, written)

    def prepare_record(
        self,
        text: str,
        out: str,
        form: DocumentFormat,
        segments: Sequence[Segment],
        translations: Sequence[str | None],
        *,
        whole: bool,
    ) -> None:
        """Prepare the record of the file with the content ``out``, made from ``text``; ``whole``: fully translated."""
        if self._spec.output is None:
            return
        what = run_interruptible(self._previous_output, out, form, segments, translations)
        stamp = self._fingerprint(text, out, form) if whole else ""
        self._memory.prepare_output(self._spec.output, self._target, what, stamp)

    def _previous_output(
        self, out: str, form: DocumentFormat, segments: Sequence[Segment], translations: Sequence[str | None]
    ) -> PreviousOutput:
        found = form.split(out, self._target) if self._spec.layout is OutputLayout.TRANSLATION else []
        rows = [
            RecordedSegment(segment.text, translation, key)
            for segment, translation, key in zip(segments, translations, segment_keys(segments), strict=True)
        ]
        return PreviousOutput(rows, digest_skeleton(out, found) if len(found) == len(segments) else "")

    def _fingerprint(self, text: str, out: str, form: DocumentFormat) -> str:
        """Return a digest of an output and of all its inputs."""
        spec = self._spec
        made_of = [text, form.name, str(spec.layout), spec.translator.model_id, spec.translator.cache_key, out]
        return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogatepass")).hexdigest()
