"""What a translation would take, without making it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmcli.documents.formats import find_format
from llmcli.documents.segments import Segment
from llmcli.interrupt import check, run_interruptible
from llmcli.store.memory import Memory
from llmcli.tasks.translate import Job
from llmcli.tasks.translation.detection import detect
from llmcli.tasks.translation.marks import put_marks
from llmcli.tasks.translation.remembered import Remembered

_GROWTH = 1.3
"""Tokens of a translation for each of its source: other languages than English need more."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One document: ``segments``, of which the model would get ``new`` ones of ``tokens`` tokens, answering ``answer``."""

    name: str
    target: str
    format: str
    source: str
    segments: int
    new: int
    tokens: int
    answer: int


def survey(job: Job, memory: Memory | None) -> Survey:
    """Return what a job would take; only tokens are asked of the backend. Raises ``BadDocument``."""
    translator, remembered = job.translator, Remembered(memory)
    document_format = find_format(job.document.name, job.document.text, job.format)
    segments = run_interruptible(document_format.split, job.document.text, translator.target.code)
    source = job.source or run_interruptible(detect, "\n".join(segment.text for segment in segments))
    unknown: list[Segment] = []
    for segment in segments if translator.instead is None else ():
        check()
        if segment.existing is None and remembered.find(segment, source, translator) is None:
            unknown.append(segment)
    new = run_interruptible(_marked, unknown)
    tokens = sum(translator.room(job.document.name).count(list(new.values()))) if new else 0
    return Survey(
        job.document.name,
        translator.target.code,
        document_format.name,
        source.code if source else "",
        len(segments),
        len(new),
        tokens,
        round(tokens * _GROWTH),
    )


def _marked(segments: Sequence[Segment]) -> dict[str, str]:
    """Return what the model would see of each text."""
    return {segment.text: put_marks(segment.text, segment.protected).text for segment in segments}
