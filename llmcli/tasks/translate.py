"""translate: the same documents in another language, with everything around the words as it was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from llmcli.documents.formats import find_format
from llmcli.documents.segments import Segment, join
from llmcli.errors import CannotCreate, UsageError
from llmcli.incomplete import LeftUndone
from llmcli.interrupt import check, run_interruptible
from llmcli.tasks.base import Tally
from llmcli.tasks.together import Cancel, Step, together
from llmcli.tasks.translation.checks import lost
from llmcli.tasks.translation.detection import detect
from llmcli.tasks.translation.layout import ONE_LANGUAGE, Layout, laid_out
from llmcli.tasks.translation.outputs import File, Job, with_root
from llmcli.tasks.translation.remembered import Remembered
from llmcli.tasks.translation.report import Report, Row, Status
from llmcli.tasks.translation.translator import Surroundings
from llmcli.tasks.translation.unit import Unit
from llmcli.types import Delta, Event, FinishReason, ItemFailed, Notice, Request, Result, TaskEvent, Timings

__all__ = ["PROMPT", "REVIEW", "Job", "translate"]

PROMPT = "translate"
REVIEW = "translate.review"
BOM = "\ufeff"
_WATCHED = 8
"""Segments whose tokens are told of while none is done; afterwards segments are counted."""
_BEFORE = 200
"""Characters of the text before a segment that the model sees."""
_PLACES = 3
"""Headings or keys above a segment that it sees."""
_LONG = 100_000
"""Characters of a segment from which it takes noticeable time to put its translation in."""


@dataclass
class _Place:
    """What is known of a segment; ``unit`` while the model works on it."""

    segment: Segment
    status: Status = Status.TRANSLATED
    translation: str | None = None
    unit: Unit | None = None
    original: int | None = None
    """The segment before it that has the same text."""
    problems: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether its text in the output is settled."""
        return self.unit is None or self.unit.done


class _Translation:
    """One document: its segments are all in flight together."""

    def __init__(self, job: Job, item: int, remembered: Remembered, report: Report) -> None:
        self.item = item
        self.name = job.document.name
        self.step = ""
        self._job = job
        self._translator = job.translator
        self._remembered = remembered
        self._file = File(job, remembered)
        self._report = report
        self._format = find_format(self.name, job.document.text, job.format)
        self._text = ""  # what is translated, and where its lines begin: see ``start``
        self._starts: list[int] = []
        self._places: list[_Place] = []
        self._source = job.source
        self._tally = Tally()
        self._streams = self._format.name == "plain" and job.layout is Layout.TRANSLATION
        self._delivered = 0  # segments whose text was written
        self._at = 0  # where the next piece of the source begins
        self._out: list[str] = []
        self._warnings: list[str] = []

    def start(self) -> Iterator[Step]:
        """Begin. Raises ``BadDocument``, ``WouldLoseEdits``, and ``ContextOverflow`` when the instructions leave no room for text."""
        if self._job.layout is Layout.INTERLEAVED and self._format.name in ONE_LANGUAGE:
            raise UsageError(
                f"a {self._format.name} file cannot hold two languages", detail="Try: --bilingual side-by-side"
            )
        run_interruptible(self._parse)
        if self._job.keep:
            yield self._kept()
            return
        yield from self._recall()
        yield from self._begin()
        yield from self._deliver()

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event."""
        place = self._places[int(event.id.split(".")[1])]
        unit = place.unit
        if unit is None:
            return
        was = unit.done
        yield from unit.take(event)
        if unit.done and not was:
            self._settle(place, unit)
            yield from self._deliver()

    def _parse(self) -> None:
        """Find the segments, and the source language where it is not named."""
        self._text = self._file.base(self._format)
        self._starts = [index + 1 for index, c in enumerate(self._text) if c == "\n"]
        segments = self._format.split(self._text, self._translator.target.code)
        self._places = [_Place(segment) for segment in segments]
        if self._source is None and self._translator.instead is None:
            self._source = detect("\n".join(segment.text for segment in segments))

    # ---- what needs no model --------------------------------------------------------------------------------------

    def _recall(self) -> Iterator[Notice]:
        """Find out which segments have a translation already. Raises ``WouldLoseEdits``."""
        carried = self._file.carried([place.segment for place in self._places], self._source, self._format)
        if carried.replaced:
            words = "texts that people changed have another source now, and are translated again"
            yield Notice(f"{carried.replaced} {words}", self.item)
        first: dict[tuple[str, str], int] = {}
        for index, place in enumerate(self._places):
            check()
            segment = place.segment
            key = (segment.text, segment.note)
            if segment.existing is not None:
                place.status = Status.EXISTING
            elif index in carried.texts:
                place.status, place.translation = Status.UPDATE, carried.texts[index]
                region = carried.regions.get(index)
                if region is not None:  # with whatever markup people wrote
                    place.segment = replace(segment, encode=partial(_as_it_stands, region))
            elif key in first:
                place.status, place.original = Status.REPEATED, first[key]
            else:
                known = self._remembered.find(segment, self._source, self._translator)
                if known is not None and not lost(segment, known):
                    place.status, place.translation = Status.MEMORY, known
                first[key] = index

    def _kept(self) -> Result:
        """Return the result of a file that is finished already. Raises ``CannotCreate`` for any other."""
        if not self._file.is_finished(self._text, self._format):
            raise CannotCreate(str(self._job.output), exists=True)
        return replace(self._result(), text=None, fields={**self._result().fields, "finished": True})

    # ---- what does ------------------------------------------------------------------------------------------------

    def _begin(self) -> Iterator[Request | Cancel]:
        """Have the model begin with all other segments."""
        new = [
            (index, place)
            for index, place in enumerate(self._places)
            if place.status is Status.TRANSLATED and place.translation is None
        ]
        units = run_interruptible(self._units, new)
        for (_, place), unit, pieces in zip(new, units, self._pieces(units), strict=True):
            yield from unit.start(pieces)
            if unit.done:
                self._settle(place, unit)

    def _units(self, new: Sequence[tuple[int, _Place]]) -> list[Unit]:
        """Return a unit for each of ``new``; those that need no model are done."""
        units = []
        for index, place in new:
            around, name = self._around(index), f"{self.item}.{index}"
            place.unit = Unit(self._translator, name, place.segment, self._source, around, tally=self._tally)
            place.unit.do_without_model()
            units.append(place.unit)
        return units

    def _pieces(self, units: Sequence[Unit]) -> list[list[tuple[str, int]]]:
        """Return each unit's text, cut where it is too large for one request, with the tokens of the pieces."""
        if not units or self._translator.instead is not None:
            return [[(unit.marked, 0)] for unit in units]
        room = self._translator.room(self.name)
        found = []
        for unit, tokens in zip(units, room.count([unit.marked for unit in units]), strict=True):
            if room.holds(tokens):
                found.append([(unit.marked, tokens)])
            else:
                texts = room.split(unit.marked)
                found.append(list(zip(texts, room.count(texts), strict=True)))
        return found

    def _around(self, index: int) -> Surroundings:
        segment = self._places[index].segment
        place = " > ".join(segment.path[-_PLACES:])
        before = ""
        if segment.kind != "message" and index > 0:  # messages of a program do not follow from each other
            before = self._places[index - 1].segment.text[-_BEFORE:]
        return Surroundings(place, before, segment.note)

    def _settle(self, place: _Place, unit: Unit) -> None:
        place.problems = unit.problems
        if unit.translation is None:
            place.status = Status.UNTRANSLATED
        else:
            place.translation = unit.translation
            self._remembered.add(place.segment, unit.translation, self._source, self._translator)

    # ---- the output -----------------------------------------------------------------------------------------------

    def _deliver(self) -> Iterator[Step]:
        """Write what is settled, in the order of the document; plain text as it comes, all else when it is whole."""
        while self._delivered < len(self._places) and self._places[self._delivered].done:
            place = self._places[self._delivered]
            if place.original is not None:
                self._copy(place, self._places[place.original])
            yield from self._warn(place)
            if self._streams:
                segment = place.segment
                long = segment.end - segment.start >= _LONG
                words = run_interruptible(self._words, place) if long else self._words(place)
                yield from self._write(self._text[self._at : segment.start] + words)
                self._at = segment.end
            self._delivered += 1
        if self._delivered == len(self._places):
            yield from self._finish()

    def _words(self, place: _Place) -> str:
        """Return what stands in a segment's region of the output."""
        put = self._put(place)
        return self._text[place.segment.start : place.segment.end] if put is None else place.segment.encode(put)

    @staticmethod
    def _copy(place: _Place, original: _Place) -> None:
        place.translation, place.problems = original.translation, original.problems
        if original.status is Status.UNTRANSLATED:
            place.status = Status.UNTRANSLATED

    def _warn(self, place: _Place) -> Iterator[Notice]:
        if place.status is Status.UNTRANSLATED:
            problem = place.problems[-1] if place.problems else "no translation was found"
            warning = f"line {self._line(place)}: left untranslated: {problem}"
            self._warnings.append(warning)
            yield Notice(warning, self.item)

    def _line(self, place: _Place) -> int:
        return bisect_right(self._starts, place.segment.start) + 1

    def _write(self, text: str) -> Iterator[Delta]:
        if self._job.document.bom and not self._out:
            text = BOM + text
        if text:
            self._out.append(text)
            yield Delta(text, self.item)

    def _finish(self) -> Iterator[Step]:
        if not self._streams:
            yield from self._take_back()
        yield from self._write(self._text[self._at :] if self._streams else run_interruptible(self._whole))
        self._note()
        self._remembered.flush()
        yield self._result()

    def _whole(self) -> str:
        segments = [place.segment for place in self._places]
        texts = [self._put(place) for place in self._places]
        out = laid_out(self._job.layout, self._text, segments, texts, self._format.name)
        if not any(texts) or self._job.layout is not Layout.TRANSLATION:
            return out
        return with_root(out, self._format, segments, self._source, self._translator.target)

    def _put(self, place: _Place) -> str | None:
        """Return what to put in a segment's region; None leaves it byte for byte."""
        return None if self._translator.changes_nothing else place.translation

    def _take_back(self) -> Iterator[Notice]:
        """Leave those segments untranslated without which the document is valid in its format, as its source is."""
        for index in run_interruptible(self._breaking_a_valid_document):
            place = self._places[index]
            place.status, place.translation = Status.UNTRANSLATED, None
            place.problems = [f"the {self._format.name} would not be valid with it"]
            yield from self._warn(place)

    def _breaking_a_valid_document(self) -> list[int]:
        """Return the segments whose translations make the document invalid; of an invalid document none does."""
        return [] if self._format.check(self._text) else self._breaking(list(range(len(self._places))))

    def _breaking(self, indices: list[int]) -> list[int]:
        """Return those of some segments whose translations make the document invalid."""
        if not indices or not self._format.check(self._joined(indices)):
            return []
        if len(indices) == 1:
            return indices
        middle = len(indices) // 2
        return [*self._breaking(indices[:middle]), *self._breaking(indices[middle:])]

    def _joined(self, indices: Iterable[int]) -> str:
        chosen = set(indices)
        segments = [place.segment for place in self._places]
        translations = [self._put(place) if i in chosen else None for i, place in enumerate(self._places)]
        return join(self._text, segments, translations)

    def _note(self) -> None:
        """Put what became of each segment into the report, and have it ready for the memory, for --update."""
        self._report.rows[self.item] = [
            Row(
                self._line(place),
                place.segment.kind,
                place.status,
                place.segment.text,
                place.segment.existing if place.status is Status.EXISTING else place.translation,
                max(0, place.unit.attempts - 1) if place.unit else 0,
                tuple(place.problems),
            )
            for place in self._places
        ]
        out = "".join(self._out)
        self._file.prepare(
            self._text,
            out.removeprefix(BOM) if self._job.document.bom else out,
            self._format,
            [place.segment for place in self._places],
            [place.translation for place in self._places],
            whole=all(place.status is not Status.UNTRANSLATED for place in self._places),
        )

    def _result(self) -> Result:
        counts = self._report.counts(self.item)
        kept = counts.get(Status.UNTRANSLATED, 0)
        left = [place.unit for place in self._places if place.unit and place.status is Status.UNTRANSLATED]
        cut = [unit for unit in left if unit.cut]
        by_user = any(unit.cut_by_user for unit in cut)
        called = any(place.unit for place in self._places) and self._translator.instead is None
        return Result(
            self.item,
            self.name,
            "".join(self._out),
            fields={
                "from": self._source.code if self._source else None,
                "to": self._translator.target.code,
                "format": self._format.name,
                "segments": len(self._places),
                "untranslated": kept,
                "statuses": counts,
            },
            model=self._translator.backend.info().model if called else "",
            prompt=self._translator.prompt.name,
            finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP,
            usage=self._tally.usage,
            timings=self._tally.timings if called else Timings(),
            warnings=tuple(self._warnings),
            cut=kept > 0,
            incomplete=LeftUndone(left=kept, total=len(self._places), limited=by_user) if kept else None,
        )


def _as_it_stands(region: str, _translation: str) -> str:
    return region


def translate(
    jobs: Iterable[Job | ItemFailed], *, remembered: Remembered | None = None, report: Report | None = None
) -> Iterator[TaskEvent]:
    """Translate each document by segments: per item its Deltas in order, then Result or ItemFailed.

    All jobs have translators on one backend. What is no segment comes out byte for byte, and so does a segment for which
    no right translation was found: a ``Notice`` says so, the Result's field ``untranslated`` counts them and its ``cut``
    is set. What is ``remembered`` needs no model; of outputs it is remembered by ``Remembered.placing`` alone. An ``ItemFailed`` among the jobs is passed on in its place.
    ``Progress`` counts "segments".
    """
    remembered, rows = remembered or Remembered(None), report or Report()
    jobs = list(jobs)
    backend = next((job.translator.backend for job in jobs if isinstance(job, Job)), None)
    if backend is None:
        yield from (failed for failed in jobs if isinstance(failed, ItemFailed))
        return
    try:
        yield from together(
            backend, jobs, lambda item, job: _Translation(job, item, remembered, rows), "segments", watched=_WATCHED
        )
    finally:
        remembered.flush()
