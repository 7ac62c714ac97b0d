"""The output file of a translation: its earlier content, whether it is finished, and what can be carried over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmcli.documents.file_reader import Document
from llmcli.documents.formats.message_files import po_merge
from llmcli.documents.segments import DocumentFormat, Segment
from llmcli.errors import BadDocument, WouldLoseEdits
from llmcli.interrupt import run_interruptible
from llmcli.tasks.translation.languages import Language
from llmcli.tasks.translation.per_file.bilingual import OutputLayout
from llmcli.tasks.translation.per_file.carry_over import (
    KEYED_FORMATS,
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


@dataclass(frozen=True)
class TranslationJob:
    """A document to translate with ``translator``.

    ``source`` None: detected. ``format`` None: found by name and content. ``output``: the output file, which the memory
    records, and ``earlier`` its present content. With ``keep_existing`` it must not change: a finished file is a result
    without text, any other is refused. Otherwise its text is kept where the source did not change.
    """

    document: Document
    translator: Translator
    source: Language | None = None
    format: str | None = None
    layout: OutputLayout = OutputLayout.TRANSLATION
    earlier: Document | None = None
    output: Path | None = None
    keep_existing: bool = False


def replace_language_root(
    text: str, form: DocumentFormat, segments: Sequence[Segment], source: Language | None, target: Language
) -> str:
    """Return a YAML file whose only root is its source language with the target in its place, as Rails wants it."""
    roots = {segment.path[0] if segment.path else "" for segment in segments}
    root = roots.pop() if len(roots) == 1 else ""
    if form.name != "yaml" or source is None or root.replace("_", "-").lower() != source.code.lower():
        return text
    return re.sub(rf"(?m)^([\"']?){re.escape(root)}(?=[\"']?[ \t]*:)", rf"\g<1>{target.code}", text, count=1)


class TargetFile:
    """The output of a job; without ``output`` nothing is known or recorded about it."""

    def __init__(self, job: TranslationJob, remembered: TranslationMemoryCache) -> None:
        self._job = job
        self._memory = remembered
        self._target = job.translator.target.code

    def text_to_translate(self, form: DocumentFormat) -> str:
        """Return the text to translate: the document; in PO an earlier translation merged with its messages.

        Raises ``BadDocument`` for the earlier one.
        """
        earlier, text = self._job.earlier, self._job.document.text
        if earlier is None or self._job.keep_existing or form.name != "po":
            return text
        form.split(text, self._target)  # raises for the document itself
        try:
            return po_merge.merge_catalogs(earlier.text, text)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error

    def is_finished(self, text: str, form: DocumentFormat) -> bool:
        """Return whether it is what was written there last, fully translated from ``text``."""
        output, earlier = self._job.output, self._job.earlier
        if output is None or earlier is None:
            return False
        return self._memory.is_finished(output, self._target, self._fingerprint(text, earlier.text, form))

    def carry_over(
        self, segments: Sequence[Segment], source: Language | None, form: DocumentFormat
    ) -> CarriedTranslations:
        """Return the translations to carry over, and store the edits that people made.

        Raises ``WouldLoseEdits``, and ``BadDocument`` for the earlier one.
        """
        earlier = self._job.earlier
        if earlier is None or form.name == "po":  # that was merged with the document
            return CarriedTranslations()
        written = self._memory.previous_output(self._job.output, self._target)
        try:
            carried = run_interruptible(self._align, earlier.text, segments, written, form)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error
        except AlignmentError as error:
            raise WouldLoseEdits(earlier.name, detail=str(error)) from error
        self._memory.add_edits(carried.edits, source, self._job.translator)
        return carried

    def _align(
        self, earlier: str, segments: Sequence[Segment], written: PreviousOutput | None, form: DocumentFormat
    ) -> CarriedTranslations:
        theirs = form.split(earlier, self._target)
        if form.name in KEYED_FORMATS:
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
        """Prepare the record of the file once it holds ``out``, made from ``text``; ``whole``: fully translated."""
        if self._job.output is None:
            return
        what = run_interruptible(self._previous_output, out, form, segments, translations)
        stamp = self._fingerprint(text, out, form) if whole else ""
        self._memory.prepare_output(self._job.output, self._target, what, stamp)

    def _previous_output(
        self, out: str, form: DocumentFormat, segments: Sequence[Segment], translations: Sequence[str | None]
    ) -> PreviousOutput:
        found = form.split(out, self._target) if self._job.layout is OutputLayout.TRANSLATION else []
        rows = [
            RecordedSegment(segment.text, translation, key)
            for segment, translation, key in zip(segments, translations, segment_keys(segments), strict=True)
        ]
        return PreviousOutput(rows, digest_skeleton(out, found) if len(found) == len(segments) else "")

    def _fingerprint(self, text: str, out: str, form: DocumentFormat) -> str:
        """Return a digest of an output and of all its inputs."""
        job = self._job
        made_of = [text, form.name, str(job.layout), job.translator.model_id, job.translator.cache_key, out]
        return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogatepass")).hexdigest()
