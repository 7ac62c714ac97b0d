"""The values of one passage: attempts with a grammar, checked, tried again, and divided if too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, Literal

from llmcli.documents.text_cutting import cut_text
from llmcli.errors import ContextOverflow, LlmError, ProcessStopped, TimedOut
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.fast_dataclass import field, replace, slotted
from llmcli.interrupt import check_interrupt
from llmcli.tasks.extract.answer_values import (
    AnswerReader,
    FreeAnswerReader,
    TokenProbabilities,
    Tree,
    UnusableAnswer,
    parse_answer,
)
from llmcli.tasks.extract.extraction_plan import ExtractionPlan
from llmcli.tasks.extract.value_grammar import MAX_ITEMS, max_objects, values_grammar
from llmcli.tasks.extract.value_locator import ValueLocator
from llmcli.tasks.quotes.quotable_text import PassageSpan
from llmcli.tasks.runner.answers import Answer, Reading, ask_until
from llmcli.tasks.runner.constrained_answers import Constraint, ask_constrained
from llmcli.tasks.runner.task_requests import make_retry
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import FinishReason, Request

MAX_ATTEMPTS = 3
MIN_DIVISIBLE_CHARACTERS = 200
"""A passage whose answer is too long is divided, unless it is shorter."""
MAX_DIVISIONS = 4
MAX_PASSAGE_CALLS = MAX_ATTEMPTS * (2 ** (MAX_DIVISIONS + 1) - 1) + 2
"""For a passage that is divided down to the last part, on a server that refuses both constraints. No prompt is longer
than that of the whole passage."""
MAX_SALVAGE_TRIALS = 8
CUT_MESSAGE = "the answer ended at a limit"
_NUM_WITHOUT_GRAMMAR = 1
"""Constraints that are left without the grammar: the schema."""
_OBJECT_END = re.compile(r"\}")

PassageProblem = Literal["", "invalid", "cut", "absent", "failed"]
"""What is wrong in the end: no usable JSON, an answer that ended at a limit, values that are not in the text, an
error."""


@slotted
class PassageValues:
    """The values of a passage, as trees of objects, and what is wrong with them."""

    passage: PassageSpan
    objects: list[Tree] = field(default_factory=list)
    problem: PassageProblem = ""
    details: list[str] = field(default_factory=list)
    error: LlmError | None = None

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """How bad it is, for the choice of the best attempt."""
        return self.problem in {"invalid", "failed"}, self.problem == "cut", len(self.details)


async def extract_passage(
    run: TaskRun, plan: ExtractionPlan, passage: PassageSpan, request_id: str, division: int = 0
) -> list[PassageValues]:
    """Return the best attempt for a passage, or those for its parts if the answer about all of it is too long.

    Raises errors that end the whole document: time-out, interruption, a limit of cost.
    """
    constraints = _constraints_for(plan, passage)
    divides = division < MAX_DIVISIONS and len(passage.text) >= MIN_DIVISIBLE_CHARACTERS

    async def ask(request: Request) -> Reading[PassageValues]:
        found = await _attempt(run, plan, passage, request, constraints)
        return Reading(found, found.problem)

    def retry(request: Request, last: Reading[PassageValues]) -> Request | None:
        is_too_long = divides and last.problem == "cut"
        # after an error, the backend has tried again already
        return None if is_too_long or last.value.error is not None else make_retry(request, plan.options)

    attempts = await ask_until(ask, plan.request(request_id, passage.text), retry, attempts=MAX_ATTEMPTS)
    if divides and attempts[-1].problem == "cut":
        parts = enumerate(_halves(passage))
        works = [extract_passage(run, plan, part, f"{request_id}.{n}", division + 1) for n, part in parts]
        return [values for each in await run.gather(works) for values in each]
    return [min((attempt.value for attempt in attempts), key=lambda each: each.rank)]


def _constraints_for(plan: ExtractionPlan, passage: PassageSpan) -> list[Constraint]:
    """Return the constraints: a grammar of the passage, unless values are free, and the schema."""
    node = plan.node

    def by_grammar(request: Request) -> Request:
        assert node is not None
        # the places of all numbers and dates are not kept: many passages wait for their answers
        grammar = values_grammar(node, ValueLocator(passage), many=plan.many)
        return replace(request, grammar=grammar, logprobs=0)

    def by_schema(request: Request) -> Request:
        return replace(request, schema=plan.answer_schema)

    return [*([] if plan.free or node is None else [by_grammar]), by_schema]


async def _attempt(
    run: TaskRun, plan: ExtractionPlan, passage: PassageSpan, request: Request, constraints: list[Constraint]
) -> PassageValues:
    """Return the values of an answer; constraints that the backend does not have are removed from the list."""
    try:
        answer, num_missing = await ask_constrained(run.ask, request, constraints)
    except (TimedOut, ProcessStopped, CostLimitReached):
        raise
    except LlmError as error:
        check_interrupt()
        return PassageValues(passage, problem="cut" if isinstance(error, ContextOverflow) else "failed", error=error)
    del constraints[:num_missing]
    reader = _PassageReader(plan, passage, answer, is_constrained=len(constraints) > _NUM_WITHOUT_GRAMMAR)
    is_cut = answer.finished.reason is FinishReason.LENGTH
    try:
        return reader.read(answer.text, is_cut=is_cut)
    except UnusableAnswer as error:
        if is_cut:
            return PassageValues(passage, reader.salvage(), "cut", [CUT_MESSAGE])
        return PassageValues(passage, problem="invalid", details=[str(error)])


class _PassageReader:
    """Reads the values of an answer about a passage.

    ``is_constrained``: a grammar held it to the words of the passage.
    """

    def __init__(self, plan: ExtractionPlan, passage: PassageSpan, answer: Answer, *, is_constrained: bool) -> None:
        self._plan = plan
        self._passage = passage
        self._answer = answer
        self._is_constrained = is_constrained

    def read(self, text: str, *, is_cut: bool) -> PassageValues:
        """Return the values in the text of an answer. Raises ``UnusableAnswer``."""
        plan = self._plan
        value, json_text, spans = parse_answer(text)
        problem = next(plan.answer_validator.iter_errors(value), "")
        if problem:
            raise UnusableAnswer(f"it does not fit the schema: {problem}")
        tokens = [(token.token, token.logprob) for token in self._answer.tokens]
        probabilities = chain(TokenProbabilities(tokens).of_spans(json_text, spans), repeat(None))
        values = value if plan.many else [value]
        objects, problems = self._look_up(values, probabilities)
        if problems:
            return PassageValues(self._passage, objects, "absent", problems)
        is_full = any(_is_full(each, MAX_ITEMS) for each in values)
        is_full = is_full or (plan.many and _is_full(value, max_objects(self._passage.text)))
        if is_cut or is_full:
            return PassageValues(self._passage, objects, "cut", [CUT_MESSAGE if is_cut else "the text may give more"])
        return PassageValues(self._passage, objects)

    def _look_up(self, values: list[Any], probabilities: Iterator[float | None]) -> tuple[list[Tree], list[str]]:
        plan, locator = self._plan, ValueLocator(self._passage)
        if plan.free or plan.node is None:
            free = FreeAnswerReader(locator, probabilities, plan.example_texts)
            return [free.read(value) for value in values], free.problems
        reader = AnswerReader(locator, probabilities, exact=self._is_constrained)
        return [reader.read(plan.node, value, "") for value in values], reader.problems

    def salvage(self) -> list[Tree]:
        """Return the objects of a list that are complete although the answer was cut."""
        text = self._answer.text
        ends = [match.end() for match in _OBJECT_END.finditer(text)] if self._plan.many else []
        for end in ends[: -MAX_SALVAGE_TRIALS - 1 : -1]:
            try:
                return self.read(f"{text[:end]}]", is_cut=True).objects
            except UnusableAnswer:
                continue
        return []


def _halves(passage: PassageSpan) -> Iterator[PassageSpan]:
    """Yield the parts of a passage, cut at the end of a paragraph, line or sentence if there is one."""
    at = passage.start
    size = len(passage.text) // 2 + 1
    for half in cut_text(passage.text, lambda each: len(each) <= size):
        if half.strip():
            yield PassageSpan(passage.document, at, at + len(half))
        at += len(half)


def _is_full(value: Any, limit: int) -> bool:
    """Whether a list in a value has as many items as an answer may give, all different, so that there may be more."""
    if isinstance(value, dict):
        return any(_is_full(each, limit) for each in value.values())
    return isinstance(value, list) and len(value) >= limit and len(set(map(repr, value))) == len(value)
