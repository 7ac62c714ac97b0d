"""extract: documents become objects of a schema, whose values are copied from them.

A document is cut into passages that fit the context; all passages of all documents run concurrently. The answer about a
passage is constrained by a grammar of its words, numbers and dates, and checked. The values of the passages are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, iter_text_blocks
from llmcli.errors import EmptyInput, LlmError
from llmcli.errors.incomplete_results import ExtractionFailed, MissingPart, ValuesMissing
from llmcli.errors.model_errors import BadGrammar
from llmcli.frozen_dataclass import asdict, replace
from llmcli.tasks.execution.document_jobs import DocumentJob, JobStep, WaitForCapacity, run_document_jobs
from llmcli.tasks.extraction.answer_values import ExtractedValue, Tree
from llmcli.tasks.extraction.extraction_plan import ExtractionPlan
from llmcli.tasks.extraction.passage_extraction import PassageExtraction
from llmcli.tasks.extraction.value_merging import FittedTree, ObjectCollector, fit_tree, iter_found, to_plain
from llmcli.tasks.extraction.value_schema import SUBJECT
from llmcli.tasks.quotation.quotable_text import PassageSpan, QuotableDocument
from llmcli.tasks.runner.answers import UsageTally
from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.types import Event, Finished, ItemFailed, Notice, Request, Result, TaskEvent

MAX_PASSAGE_CHARACTERS = 12_000
MAX_WARNED_VALUES = 5
"""Values of a passage that warnings name."""
PROBABILITY_DIGITS = 4


def cut_for_extraction(plan: ExtractionPlan, document: Document | StreamedFile, item: int = 0) -> Iterator[PassageSpan]:
    """Yield the passages of a document that fit the context with an answer. Raises ``ContextOverflow``."""
    budget = ContextBudget(
        plan.backend, lambda piece: plan.request("count", piece), plan.answer_tokens, subject=document.name
    )
    for block in iter_text_blocks(document):
        quotable = QuotableDocument.from_block(document, block, item)
        at = 0
        for piece in (
            budget.split_to_fit(block.text, max_characters=MAX_PASSAGE_CHARACTERS) if block.text.strip() else ()
        ):
            if piece.strip():
                yield PassageSpan(quotable, at, at + len(piece))
            at += len(piece)


class _ExtractionJob:
    """The job of one document: its passages, some at a time, whose values are merged in the order of the text.

    Passages are known by their ids: numbers separated by dots, the first of which is that of the piece of the text that
    they are a part of.
    """

    step = ""

    def __init__(self, plan: ExtractionPlan, item: int, document: Document | StreamedFile) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._document = document
        self._all_sent = False
        self._running: dict[str, tuple[int, PassageExtraction]] = {}  # request -> piece, passage
        self._open: dict[int, int] = {}  # piece -> its passages that are not finished
        self._finished: dict[int, list[PassageExtraction]] = {}  # piece -> its passages; pieces that are not merged yet
        self._next = 0  # the next piece to merge
        self._values = ObjectCollector(many=plan.many)
        self._read = PassageCounts()
        self._missing: list[MissingPart] = []
        self._tally = UsageTally()
        self._warnings: list[str] = []

    def start(self) -> Iterator[JobStep]:
        """Yield the requests. Raises ``EmptyInput`` and ``ContextOverflow``."""
        number = -1
        for number, text in enumerate(cut_for_extraction(self._plan, self._document, self.item)):
            yield WaitForCapacity()
            self._open[number] = 1
            yield self._submit(number, PassageExtraction(self._plan, text, f"{self.item}.{number}"))
        if number < 0:
            raise EmptyInput(self.name)
        self._all_sent = True
        if not self._running:
            yield from self._finish()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield further requests, or the result. Raises ``ExtractionFailed``, and an error if it ended all passages."""
        piece, passage = self._running[event.id]
        passage.add_event(event)
        if not isinstance(event, Finished):
            return
        self._tally.add(event)
        del self._running[event.id]
        again = passage.finish_attempt()
        if again is not None:
            self._running[again.id] = piece, passage
            yield again
            return
        self._open[piece] += len(passage.divided) - 1
        for each in passage.divided:
            yield self._submit(piece, each)
        if not passage.divided:
            self._finished.setdefault(piece, []).append(passage)
        yield from self._merge_finished()
        if self._all_sent and not self._running:
            yield from self._finish()

    def _submit(self, piece: int, passage: PassageExtraction) -> Request:
        request = passage.start()
        self._running[request.id] = piece, passage
        return request

    def _merge_finished(self) -> Iterator[Notice]:
        """Merge the pieces that are finished, up to the first one that is not."""
        while self._open.get(self._next) == 0:
            del self._open[self._next]
            for each in sorted(self._finished.pop(self._next, []), key=lambda passage: passage.passage.start):
                self._values.add(each.outcome.objects)
                self._read.add(each)
                if each.outcome.problem:
                    self._missing.append(self._missing_part(each))
                    yield from self._warn_of(each, self._missing[-1])
            self._next += 1

    def _finish(self) -> Iterator[JobStep]:
        self._read.raise_if_nothing_read(self.name)
        missing = [replace(each, parts=self._read.passages) for each in self._missing]
        tree, values, left_out = self._fit_objects()
        if left_out:
            yield self._warn(f"incomplete, and left out: {', '.join(left_out[:MAX_WARNED_VALUES])}")
        found = list(iter_found(tree))
        for path, value in found:
            if value.ambiguous and value.quote is not None:
                yield self._warn(f"{path}: {value.quote.line!r} may also mean another day than {value.value}")
        incomplete = missing or left_out
        yield Result(
            self.item,
            self.name,
            None,
            fields={
                "values": values,
                "found": [describe_value(path, each) for path, each in found],
                "method": self._plan.method,
                "coverage": self._read.coverage,
                "passages": {"read": self._read.passages - self._read.unread, "all": self._read.passages},
                "missing": [asdict(part) for part in missing],
                "duplicates": self._values.duplicates,
            },
            model=self._plan.backend.info().model,
            prompt=self._plan.prompt.name,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=tuple(self._warnings),
            cut=bool(incomplete),
            incomplete=ValuesMissing(self.name, tuple(missing), len(left_out)) if incomplete else None,
        )

    def _fit_objects(self) -> tuple[Tree, Any, list[str]]:
        """Return the merged tree, its values, and what was left out.

        Raises ``ExtractionFailed`` for values that do not fit the schema.
        """
        kept = self._values.objects
        if not self._plan.many:
            fitted = self._fit(kept[0])
            if fitted.missing:
                raise ExtractionFailed(self.name, detail=f"required, and not found: {', '.join(fitted.missing)}")
            values = to_plain(fitted.tree)
            self._check(values)
            return fitted.tree, values, fitted.left_out
        left_out: list[str] = []
        trees: list[Tree] = []
        for index, each in enumerate(kept):
            fitted = self._fit(each)
            if fitted.missing:
                left_out.append(f"[{index}] (without {', '.join(fitted.missing)})")
                continue
            left_out += [f"[{index}].{path}" for path in fitted.left_out]
            self._check(to_plain(fitted.tree))
            trees.append(fitted.tree)
        return trees, to_plain(trees), left_out

    def _fit(self, tree: Tree) -> FittedTree:
        node = self._plan.node
        if node is None or self._plan.free:
            return FittedTree(tree)
        return fit_tree(node, tree if tree is not None else {})

    def _check(self, values: Any) -> None:
        problem = next(self._plan.object_validator.iter_errors(values), "")
        if problem:
            raise ExtractionFailed(self.name, detail=problem)

    def _missing_part(self, passage: PassageExtraction) -> MissingPart:
        problem = passage.outcome.problem or "failed"
        text = passage.passage
        start = text.start + len(text.text) - len(text.text.lstrip())
        lines = text.document.quote(start, text.start + len(text.text.rstrip()))
        return MissingPart(lines.first_line, lines.last_line, self._read.passages, 0, 0, problem)

    def _warn_of(self, passage: PassageExtraction, part: MissingPart) -> Iterator[Notice]:
        where = f"lines {part.first_line} to {part.last_line}"
        details = passage.outcome.details or ["an error ended the request"]
        for detail in details[:MAX_WARNED_VALUES]:
            yield self._warn(f"{where}: {detail}")

    def _warn(self, text: str) -> Notice:
        self._warnings.append(text)
        return Notice(text, self.item)


class PassageCounts:
    """Counts passages, and the characters of those without an answer."""

    def __init__(self) -> None:
        self.passages = self.unread = 0
        self._characters = self._lost = 0
        self._error: LlmError | None = None
        self._detail = ""

    def add(self, passage: PassageExtraction) -> None:
        """Count a finished passage."""
        size = len(passage.passage.text)
        self.passages += 1
        self._characters += size
        if passage.outcome.problem and not passage.outcome.objects:
            if not self.unread:
                self._error, self._detail = passage.error, "; ".join(passage.outcome.details[:1])
            self.unread += 1
            self._lost += size

    @property
    def coverage(self) -> float:
        """The share of the characters that an answer was given about."""
        return round(1 - self._lost / self._characters, 6)

    def raise_if_nothing_read(self, name: str) -> None:
        """Raise the error of the first passage, or ``ExtractionFailed``, if no passage has a usable answer."""
        if self.unread < self.passages:
            return
        if isinstance(self._error, BadGrammar):
            raise BadGrammar(SUBJECT, detail=self._error.detail) from self._error
        if self._error is not None:
            raise self._error
        raise ExtractionFailed(name, detail=self._detail)


def describe_value(path: str, found: ExtractedValue) -> dict[str, Any]:
    """Return the object of a found value in ``--json``."""
    probability = None if found.probability is None else round(found.probability, PROBABILITY_DIGITS)
    return {
        "path": path,
        "value": found.value,
        "probability": probability,
        "quote": None if found.quote is None else found.quote.to_json(),
    }


def extract(plan: ExtractionPlan, documents: Iterable[Document | StreamedFile | ItemFailed]) -> Iterator[TaskEvent]:
    """Take the values of ``plan`` from each document: per item a Result without text, or ItemFailed.

    Fields of a Result: ``values`` (an object of the schema; with ``many`` a list), ``found`` (each value with ``path``,
    ``value``, ``probability`` and ``quote``, which has text, offsets, page and lines; null for what the text does not
    say in so many words), ``method`` ("copied", or "free"), ``coverage`` (the share of the characters that an answer was
    given about), ``passages`` (read and all), ``missing`` (a ``MissingPart`` for each passage whose values may be
    missing; the result is then incomplete) and ``duplicates`` (objects that equalled others).

    An empty document fails with ``EmptyInput``, one without room for its text with ``ContextOverflow``, one without a
    usable answer or a required value with ``ExtractionFailed``; the others go on. ``Progress`` counts "passages".
    """

    def make_job(item: int, document: Document | StreamedFile) -> DocumentJob:
        return _ExtractionJob(plan, item, document)

    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_document_jobs(plan.backend, texts, make_job, "passages")
