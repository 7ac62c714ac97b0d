"""extract: documents become objects of a schema, whose values are copied from them.

A document is cut into passages that fit the context; all passages of all documents run concurrently. The answer about a
passage is constrained by a grammar of its words, numbers and dates, and checked. The values of the passages are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput
from llmcli.frozen_dataclass import asdict
from llmcli.grammars import BadGrammar
from llmcli.incomplete_results import ExtractionFailed, MissingPart, ValuesMissing
from llmcli.tasks.execution.context_budget import ContextBudget
from llmcli.tasks.execution.document_jobs import JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import UsageTally
from llmcli.tasks.extraction.answer_values import ExtractedValue, Tree
from llmcli.tasks.extraction.extraction_plan import ExtractionPlan
from llmcli.tasks.extraction.passage_extraction import PassageExtraction
from llmcli.tasks.extraction.value_merging import FittedTree, drop_equal, fit_tree, iter_found, merge_objects, to_plain
from llmcli.tasks.extraction.value_schema import SUBJECT
from llmcli.tasks.quotation.quotable_text import QuotableDocument, QuotableText
from llmcli.types import Event, Finished, ItemFailed, Notice, Request, Result, TaskEvent

MAX_PASSAGE_CHARACTERS = 12_000
MAX_WARNED_VALUES = 5
"""Values of a passage that warnings name."""
PROBABILITY_DIGITS = 4


class _ExtractionJob:
    """The job of one document: its passages, then their merged values."""

    step = ""

    def __init__(self, plan: ExtractionPlan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._document = QuotableDocument.from_document(document, item)
        self._passages: list[PassageExtraction] = []
        self._running: dict[str, PassageExtraction] = {}
        self._tally = UsageTally()
        self._warnings: list[str] = []

    def start(self) -> Iterator[JobStep]:
        """Yield the requests. Raises ``EmptyInput`` and ``ContextOverflow``."""
        text = self._document.text
        if not text.strip():
            raise EmptyInput(self.name)
        plan = self._plan
        budget = ContextBudget(
            plan.backend, lambda piece: plan.request("count", piece), plan.answer_tokens, subject=self.name
        )
        at = 0
        for number, piece in enumerate(budget.split_to_fit(text, MAX_PASSAGE_CHARACTERS)):
            if piece.strip():
                passage = QuotableText(self._document, at, at + len(piece))
                self._passages.append(PassageExtraction(plan, passage, f"{self.item}.{number}"))
            at += len(piece)
        for each in self._passages:
            yield self._submit(each.start(), each)

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield further requests, or the result. Raises ``ExtractionFailed``, and an error if it ended all passages."""
        passage = self._running[event.id]
        passage.add_event(event)
        if not isinstance(event, Finished):
            return
        self._tally.add(event)
        del self._running[event.id]
        again = passage.finish_attempt()
        if again is not None:
            yield self._submit(again, passage)
        elif passage.divided:
            at = self._passages.index(passage)
            self._passages[at : at + 1] = passage.divided
            for each in passage.divided:
                yield self._submit(each.start(), each)
        if not self._running:
            yield from self._finish()

    def _submit(self, request: Request, passage: PassageExtraction) -> Request:
        self._running[request.id] = passage
        return request

    def _finish(self) -> Iterator[JobStep]:
        unread = [each for each in self._passages if each.outcome.problem and not each.outcome.objects]
        if len(unread) == len(self._passages):
            error = unread[0].error
            if isinstance(error, BadGrammar):
                raise BadGrammar(SUBJECT, detail=error.detail) from error
            if error is not None:
                raise error
            raise ExtractionFailed(self.name, detail="; ".join(unread[0].outcome.details[:1]))
        missing = []
        for number, each in enumerate(self._passages, 1):
            if each.outcome.problem:
                missing.append(self._missing_part(each, number))
                yield from self._warn_of(each, missing[-1])
        objects = [tree for each in self._passages for tree in each.outcome.objects]
        tree, values, left_out, duplicates = self._merge(objects)
        if left_out:
            yield self._warn(f"incomplete, and left out: {', '.join(left_out[:MAX_WARNED_VALUES])}")
        found = list(iter_found(tree))
        for path, value in found:
            if value.ambiguous and value.quote is not None:
                yield self._warn(f"{path}: {value.quote.line!r} may also mean another day than {value.value}")
        total = sum(len(each.passage.text) for each in self._passages)
        lost = sum(len(each.passage.text) for each in unread)
        incomplete = missing or left_out
        yield Result(
            self.item,
            self.name,
            None,
            fields={
                "values": values,
                "found": [describe_value(path, each) for path, each in found],
                "method": "free" if self._plan.free else "copied",
                "coverage": round(1 - lost / total, 6),
                "passages": {"read": len(self._passages) - len(unread), "all": len(self._passages)},
                "missing": [asdict(part) for part in missing],
                "duplicates": duplicates,
            },
            model=self._plan.backend.info().model,
            prompt=self._plan.prompt.name,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=tuple(self._warnings),
            cut=bool(incomplete),
            incomplete=ValuesMissing(self.name, tuple(missing), len(left_out)) if incomplete else None,
        )

    def _merge(self, objects: Sequence[Tree]) -> tuple[Tree, Any, list[str], int]:
        """Return the merged tree, its values, what was left out, and how many objects equalled others.

        Raises ``ExtractionFailed`` for values that do not fit the schema.
        """
        if not self._plan.many:
            fitted = self._fit(merge_objects(objects))
            if fitted.missing:
                raise ExtractionFailed(self.name, detail=f"required, and not found: {', '.join(fitted.missing)}")
            values = to_plain(fitted.tree)
            self._check(values)
            return fitted.tree, values, fitted.left_out, 0
        kept, duplicates = drop_equal(objects)
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
        return trees, to_plain(trees), left_out, duplicates

    def _fit(self, tree: Tree) -> FittedTree:
        node = self._plan.node
        if node is None or self._plan.free:
            return FittedTree(tree)
        return fit_tree(node, tree if tree is not None else {})

    def _check(self, values: Any) -> None:
        problem = next(self._plan.object_validator.iter_errors(values), "")
        if problem:
            raise ExtractionFailed(self.name, detail=problem)

    def _missing_part(self, passage: PassageExtraction, number: int) -> MissingPart:
        problem = passage.outcome.problem or "failed"
        text = passage.passage
        start = text.start + len(text.text) - len(text.text.lstrip())
        lines = self._document.quote(start, text.start + len(text.text.rstrip()))
        return MissingPart(lines.first_line, lines.last_line, number, len(self._passages), 0, problem)

    def _warn_of(self, passage: PassageExtraction, part: MissingPart) -> Iterator[Notice]:
        where = f"lines {part.first_line} to {part.last_line}"
        details = passage.outcome.details or ["an error ended the request"]
        for detail in details[:MAX_WARNED_VALUES]:
            yield self._warn(f"{where}: {detail}")

    def _warn(self, text: str) -> Notice:
        self._warnings.append(text)
        return Notice(text, self.item)


def describe_value(path: str, found: ExtractedValue) -> dict[str, Any]:
    """Return the object of a found value in ``--json``."""
    probability = None if found.probability is None else round(found.probability, PROBABILITY_DIGITS)
    return {
        "path": path,
        "value": found.value,
        "probability": probability,
        "quote": None if found.quote is None else found.quote.to_json(),
    }


def extract(plan: ExtractionPlan, documents: Iterable[Document | ItemFailed]) -> Iterator[TaskEvent]:
    """Take the values of ``plan`` from each document: per item a Result without text, or ItemFailed.

    Fields of a Result: ``values`` (an object of the schema; with ``many`` a list), ``found`` (each value with ``path``,
    ``value``, ``probability`` and ``quote``, which has text, offsets, page and lines; null for what the text does not
    say in so many words), ``method`` ("copied", or "free"), ``coverage`` (the share of the characters that an answer was
    given about), ``passages`` (read and all), ``missing`` (a ``MissingPart`` for each passage whose values may be
    missing; the result is then incomplete) and ``duplicates`` (objects that equalled others).

    An empty document fails with ``EmptyInput``, one without room for its text with ``ContextOverflow``, one without a
    usable answer or a required value with ``ExtractionFailed``; the others go on. ``Progress`` counts "passages".
    """
    backend: Backend = plan.backend
    yield from run_document_jobs(backend, documents, lambda item, each: _ExtractionJob(plan, item, each), "passages")
