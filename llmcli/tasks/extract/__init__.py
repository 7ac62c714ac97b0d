"""extract: documents become objects of a schema, whose values are copied from them.

A document is cut into passages that fit the context; all passages of all documents run concurrently. The answer about a
passage is constrained by a grammar of its words, numbers and dates, and checked. The values of the passages are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, iter_text_blocks
from llmcli.errors import EmptyInput, PartialError
from llmcli.errors.incomplete_results import (
    LARGER_MODEL_ADVICE,
    ExtractionFailed,
    MissingPart,
    format_line_ranges,
    format_part_numbers,
)
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import asdict, replace
from llmcli.tasks.extract.answer_values import ExtractedValue, Tree
from llmcli.tasks.extract.extraction_plan import ExtractionPlan
from llmcli.tasks.extract.passage_extraction import MAX_PASSAGE_CALLS, PassageValues, extract_passage
from llmcli.tasks.extract.value_merging import FittedTree, ObjectCollector, fit_tree, iter_found, to_plain
from llmcli.tasks.extract.value_schema import SUBJECT, iter_leaves
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument
from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange, count_requests
from llmcli.types import PROBABILITY_DIGITS, ItemFailed, Result, TaskEvent

MAX_PASSAGE_CHARACTERS = 12_000
MAX_WARNED_VALUES = 5
"""Values of a passage that warnings name."""
_TOKENS_OF_VALUE, _VALUES_OF_ANY_SCHEMA = 16, 8
"""A value with its name in JSON, and how many values an answer has if its schema does not tell."""


def extract(plan: ExtractionPlan, documents: Iterable[Document | StreamedFile | ItemFailed]) -> Iterator[TaskEvent]:
    """Take the values of ``plan`` from each document: per item a Result without text, or ItemFailed.

    Fields of a Result: ``values`` (an object of the schema; with ``many`` a list), ``found`` (each value with ``path``,
    ``value``, ``probability`` and ``quote``, which has text, offsets, page and lines; null for what the text does not
    say in so many words), ``method`` ("copied", or "free"), ``coverage`` (the share of the characters that an answer
    was given about), ``passages`` (read and all), ``missing`` (a ``MissingPart`` for each passage whose values may be
    missing; the result is then incomplete) and ``duplicates`` (objects that equalled others).

    An empty document fails with ``EmptyInput``, one without room for its text with ``ContextOverflow``, one without a
    usable answer or a required value with ``ExtractionFailed``; the others go on. ``Progress`` counts "passages".
    """

    async def task(run: TaskRun, document: Document | StreamedFile) -> Result:
        return await extract_document(run, plan, document)

    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_inputs(plan.backend, texts, task, "passages")


async def extract_document(
    run: TaskRun, plan: ExtractionPlan, document: Document | StreamedFile, *, source: str = ""
) -> Result:
    """Return the values of a document, as ``extract`` does. Raises the error of a request if it ended all passages.

    Warnings begin with ``source``, if it is given.
    """
    where = source and f"{source}: "

    async def read(numbered: tuple[int, PassageSpan]) -> list[PassageValues]:
        number, passage = numbered
        return await extract_passage(run, plan, passage, f"{run.item}.{number}")

    objects, counts, missing = ObjectCollector(many=plan.many), _PassageCounts(), list[MissingPart]()
    async for found in run.each(enumerate(cut_for_extraction(plan, document, run.item)), read):
        for values in found:
            objects.add(values.objects)
            counts.add(values)
            if values.problem:
                part = _missing_part(values, counts.passages)
                missing.append(part)
                for detail in (values.details or ["an error ended the request"])[:MAX_WARNED_VALUES]:
                    run.warn(f"{where}lines {part.first_line} to {part.last_line}: {detail}")
    counts.raise_if_nothing_read(run.name)
    missing = [replace(part, parts=counts.passages) for part in missing]
    tree, values, left_out = _fit_objects(plan, objects.objects, run.name)
    if left_out:
        run.warn(f"{where}incomplete, and left out: {', '.join(left_out[:MAX_WARNED_VALUES])}")
    described = list(iter_found(tree))
    for path, value in described:
        if value.ambiguous and value.quote is not None:
            run.warn(f"{where}{path}: {value.quote.line!r} may also mean another day than {value.value}")
    incomplete = _values_missing(run.name, missing, len(left_out)) if missing or left_out else None
    return run.result(
        None,
        {
            "values": values,
            "found": [describe_value(path, value) for path, value in described],
            "method": plan.method,
            "coverage": counts.coverage,
            "passages": {"read": counts.passages - counts.unread, "all": counts.passages},
            "missing": [asdict(part) for part in missing],
            "duplicates": objects.duplicates,
        },
        prompt=plan.prompt.name,
        cut=incomplete is not None,
        incomplete=incomplete,
    )


def cut_for_extraction(plan: ExtractionPlan, document: Document | StreamedFile, item: int = 0) -> Iterator[PassageSpan]:
    """Yield the passages of a document that fit the context with an answer. Raises ``ContextOverflow``."""
    budget = ContextBudget(
        plan.backend, lambda passage: plan.request("count", passage), plan.answer_tokens, subject=document.name
    )
    for block in iter_text_blocks(document):
        quotable = QuotableDocument.from_block(document, block, item)
        at = 0
        for passage in (
            budget.split_to_fit(block.text, max_characters=MAX_PASSAGE_CHARACTERS) if block.text.strip() else ()
        ):
            if passage.strip():
                yield PassageSpan(quotable, at, at + len(passage))
            at += len(passage)


def _fit_objects(plan: ExtractionPlan, objects: list[Tree], name: str) -> tuple[Tree, Any, list[str]]:
    """Return the merged tree, its values, and what was left out.

    Raises ``ExtractionFailed`` for values that do not fit the schema.
    """
    if not plan.many:
        fitted = _fit(plan, objects[0])
        if fitted.missing:
            raise ExtractionFailed(name, detail=f"required, and not found: {', '.join(fitted.missing)}")
        values = to_plain(fitted.tree)
        _check(plan, values, name)
        return fitted.tree, values, fitted.left_out
    left_out: list[str] = []
    trees: list[Tree] = []
    for index, tree in enumerate(objects):
        fitted = _fit(plan, tree)
        if fitted.missing:
            left_out.append(f"[{index}] (without {', '.join(fitted.missing)})")
            continue
        left_out += [f"[{index}].{path}" for path in fitted.left_out]
        _check(plan, to_plain(fitted.tree), name)
        trees.append(fitted.tree)
    return trees, to_plain(trees), left_out


def _fit(plan: ExtractionPlan, tree: Tree) -> FittedTree:
    if plan.node is None or plan.free:
        return FittedTree(tree)
    return fit_tree(plan.node, tree if tree is not None else {})


def _check(plan: ExtractionPlan, values: Any, name: str) -> None:
    problem = next(plan.object_validator.iter_errors(values), "")
    if problem:
        raise ExtractionFailed(name, detail=problem)


def _missing_part(values: PassageValues, number: int) -> MissingPart:
    passage = values.passage
    start = passage.start + len(passage.text) - len(passage.text.lstrip())
    lines = passage.document.quote(start, passage.start + len(passage.text.rstrip()))
    return MissingPart(lines.first_line, lines.last_line, number, 0, 0, values.problem or "failed")


class _PassageCounts:
    """Counts passages, and the characters of those without an answer."""

    def __init__(self) -> None:
        self.passages = self.unread = 0
        self._characters = self._lost = 0
        self._first_unread: PassageValues | None = None

    def add(self, values: PassageValues) -> None:
        """Count a passage."""
        size = len(values.passage.text)
        self.passages += 1
        self._characters += size
        if values.problem and not values.objects:
            self._first_unread = self._first_unread or values
            self.unread += 1
            self._lost += size

    @property
    def coverage(self) -> float:
        """The share of the characters that an answer was given about."""
        return round(1 - self._lost / self._characters, 6)

    def raise_if_nothing_read(self, name: str) -> None:
        """Raise ``EmptyInput`` without passages; without a usable answer the first error, or ``ExtractionFailed``."""
        if self.unread < self.passages:
            return
        if self._first_unread is None:
            raise EmptyInput(name)
        error = self._first_unread.error
        if isinstance(error, BadGrammar):
            raise BadGrammar(SUBJECT, detail=error.detail) from error
        raise error or ExtractionFailed(name, detail="; ".join(self._first_unread.details[:1]))


def describe_value(path: str, found: ExtractedValue) -> dict[str, Any]:
    """Return the object of a found value in ``--json``."""
    probability = None if found.probability is None else round(found.probability, PROBABILITY_DIGITS)
    return {
        "path": path,
        "value": found.value,
        "probability": probability,
        "quote": None if found.quote is None else found.quote.to_json(),
    }


def estimate_extraction(plan: ExtractionPlan, document: Document | StreamedFile) -> WorkEstimate:
    """Return the work for a document; the backend only counts tokens.

    With ``many``, an object in each passage is assumed.

    Raises ``EmptyInput`` and ``ContextOverflow``.
    """
    passages = cut_for_extraction(plan, document)
    requests = (plan.request(str(number), passage.text) for number, passage in enumerate(passages))
    calls, tokens = count_requests(plan.backend, requests)
    if not calls:
        raise EmptyInput(document.name)
    values = _VALUES_OF_ANY_SCHEMA if plan.node is None else sum(1 for _ in iter_leaves(plan.node))
    work = WorkRange(calls, MAX_PASSAGE_CALLS * calls, tokens, MAX_PASSAGE_CALLS * tokens)
    answers = calls * values * _TOKENS_OF_VALUE
    return WorkEstimate(document.name, plan.method, calls, calls, tokens, answers, decided_by_answers=work)


def _values_missing(name: str, parts: Sequence[MissingPart], left_out: int) -> PartialError:
    """Return the error of a document that may have more values, in ``parts`` of it or in incomplete objects."""
    said = []
    if parts:
        one = len(parts) == 1 and parts[0].first_line == parts[0].last_line
        where = f"line{'' if one else 's'} {format_line_ranges(parts)}"
        said.append(f"values in {where} of {{subject}} may be missing{format_part_numbers(parts)}")
    if left_out:
        objects = "an incomplete object was" if left_out == 1 else f"{left_out} incomplete objects were"
        said.append(f"{objects} left out")
    return PartialError(
        name,
        message="; ".join(said),
        advice=f"The warnings say why; {LARGER_MODEL_ADVICE}",
        type_name="ValuesMissing",
    )
