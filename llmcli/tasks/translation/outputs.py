"""The file that a translation is for: what it holds already, whether it is finished, what of it still holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmcli.documents.formats import po_merge
from llmcli.documents.reading import Document
from llmcli.documents.segments import Format, Segment
from llmcli.errors import BadDocument, WouldLoseEdits
from llmcli.interrupt import run_interruptible
from llmcli.tasks.languages import Language
from llmcli.tasks.translation.layout import Layout
from llmcli.tasks.translation.remembered import Remembered
from llmcli.tasks.translation.translator import Translator
from llmcli.tasks.translation.update import (
    BY_KEY,
    Carried,
    Row,
    UnclearError,
    Written,
    by_key,
    by_place,
    keys,
    skeleton,
)


@dataclass(frozen=True)
class Job:
    """A document to translate with ``translator``.

    ``source`` None: found out. ``format`` None: found by name and content. ``output``: the file that the translation is
    for, under which the memory keeps it, and ``earlier`` what that file holds. With ``keep`` it must stay as it is: a
    file that is finished is a result without text, any other is refused; else its text where the source did not change.
    """

    document: Document
    translator: Translator
    source: Language | None = None
    format: str | None = None
    layout: Layout = Layout.TRANSLATION
    earlier: Document | None = None
    output: Path | None = None
    keep: bool = False


def with_root(text: str, form: Format, segments: Sequence[Segment], source: Language | None, target: Language) -> str:
    """Return a YAML file whose only root is its source language with the target in its place, as Rails wants it."""
    roots = {segment.path[0] if segment.path else "" for segment in segments}
    root = roots.pop() if len(roots) == 1 else ""
    if form.name != "yaml" or source is None or root.replace("_", "-").lower() != source.code.lower():
        return text
    return re.sub(rf"(?m)^([\"']?){re.escape(root)}(?=[\"']?[ \t]*:)", rf"\g<1>{target.code}", text, count=1)


class File:
    """The output of a job; without ``output`` nothing is known and nothing remembered of it."""

    def __init__(self, job: Job, remembered: Remembered) -> None:
        self._job = job
        self._remembered = remembered
        self._target = job.translator.target.code

    def base(self, form: Format) -> str:
        """Return what is translated: the document, in PO an earlier translation with its messages.

        Raises ``BadDocument`` for the earlier one.
        """
        earlier, text = self._job.earlier, self._job.document.text
        if earlier is None or self._job.keep or form.name != "po":
            return text
        form.split(text, self._target)  # raises for the document itself
        try:
            return po_merge.merged(earlier.text, text)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error

    def is_finished(self, text: str, form: Format) -> bool:
        """Return whether it is what was written there last, made of ``text`` with nothing left undone."""
        output, earlier = self._job.output, self._job.earlier
        if output is None or earlier is None:
            return False
        return self._remembered.is_finished(output, self._target, self._stamp(text, earlier.text, form))

    def carried(self, segments: Sequence[Segment], source: Language | None, form: Format) -> Carried:
        """Return what of the earlier translation still holds, and remember what people wrote in it.

        Raises ``WouldLoseEdits``, and ``BadDocument`` for the earlier one.
        """
        earlier = self._job.earlier
        if earlier is None or form.name == "po":  # that was merged with the document
            return Carried()
        written = self._remembered.last_written(self._job.output, self._target)
        try:
            carried = run_interruptible(self._compare, earlier.text, segments, written, form)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error
        except UnclearError as error:
            raise WouldLoseEdits(earlier.name, detail=str(error)) from error
        self._remembered.learn(carried.edits, source, self._job.translator)
        return carried

    def _compare(self, earlier: str, segments: Sequence[Segment], written: Written | None, form: Format) -> Carried:
        theirs = form.split(earlier, self._target)
        if form.name in BY_KEY:
            return by_key(segments, theirs, written)
        return by_place(segments, earlier, theirs, written)

    def prepare(
        self,
        text: str,
        out: str,
        form: Format,
        segments: Sequence[Segment],
        translations: Sequence[str | None],
        *,
        whole: bool,
    ) -> None:
        """Have ready what will be remembered of the file once it holds ``out``, made of ``text``; ``whole``: nothing was left undone."""
        if self._job.output is None:
            return
        what = run_interruptible(self._rows, out, form, segments, translations)
        stamp = self._stamp(text, out, form) if whole else ""
        self._remembered.prepare_output(self._job.output, self._target, what, stamp)

    def _rows(self, out: str, form: Format, segments: Sequence[Segment], translations: Sequence[str | None]) -> Written:
        found = form.split(out, self._target) if self._job.layout is Layout.TRANSLATION else []
        rows = [
            Row(segment.text, translation, key)
            for segment, translation, key in zip(segments, translations, keys(segments), strict=True)
        ]
        return Written(rows, skeleton(out, found) if len(found) == len(segments) else "")

    def _stamp(self, text: str, out: str, form: Format) -> str:
        """Return what identifies an output and all that it was made of."""
        job = self._job
        made_of = [text, form.name, str(job.layout), job.translator.model_id, job.translator.variant, out]
        return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogatepass")).hexdigest()
