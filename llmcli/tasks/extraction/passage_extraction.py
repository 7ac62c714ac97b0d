"""The values of one passage: attempts that are constrained by a grammar, checked, tried again, and divided if too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from itertools import chain, repeat
from typing import Any, Literal

from llmcli.documents.chunking import chunk_text
from llmcli.errors import ContextOverflow, InputError, LlmError, ProcessStopped, TimedOut, Unsupported
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.errors.model_errors import BadGrammar
from llmcli.frozen_dataclass import field, replace, slotted
from llmcli.interrupt import check_interrupt
from llmcli.tasks.extraction.answer_values import (
    AnswerReader,
    FreeAnswerReader,
    TokenProbabilities,
    Tree,
    UnusableAnswer,
    parse_answer,
)
from llmcli.tasks.extraction.extraction_plan import ExtractionPlan
from llmcli.tasks.extraction.value_grammar import MAX_ITEMS, max_objects, values_grammar
from llmcli.tasks.extraction.value_locator import ValueLocator
from llmcli.tasks.quotation.quotable_text import PassageSpan
from llmcli.tasks.runner.answers import ResponseBuffer, raise_request_error, require_finished
from llmcli.tasks.runner.task_requests import make_retry
from llmcli.types import Event, FinishReason, Request, TokenLogprobs

MAX_ATTEMPTS = 3
MIN_DIVISIBLE_CHARACTERS = 200
"""A passage whose answer is too long is divided, unless it is shorter."""
MAX_DIVISIONS = 4
MAX_SALVAGE_TRIALS = 8
_OBJECT_END = re.compile(r"\}")

PassageProblem = Literal["", "invalid", "cut", "absent", "failed"]
"""What is wrong in the end: no usable JSON, an answer that ended at a limit, values that are not in the text, an error."""


class Constraint(Enum):
    """What holds an answer to its form: a grammar of the passage, a JSON Schema, or only the checks afterwards."""

    GRAMMAR = auto()
    SCHEMA = auto()
    NONE = auto()


@slotted
class PassageAttempt:
    """What an attempt gave: trees of objects, and what is wrong with it."""

    objects: list[Tree] = field(default_factory=list)
    problem: PassageProblem = ""
    details: list[str] = field(default_factory=list)

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """How bad it is, for the choice of the best attempt."""
        return self.problem in {"invalid", "failed"}, self.problem == "cut", len(self.details)


class PassageExtraction:
    """The values of ``passage``. Submit ``start()``, pass its events to ``add_event``, and call ``finish_attempt``.

    That returns the next request, or None at the end. ``outcome`` is then the best attempt, and ``divided`` the passages
    that take its place if the answer was too long.
    """

    def __init__(self, plan: ExtractionPlan, passage: PassageSpan, request_id: str, division: int = 0) -> None:
        self.passage = passage
        self.outcome = PassageAttempt(problem="failed")
        self.divided: list[PassageExtraction] = []
        self.error: LlmError | None = None
        self._plan = plan
        self._id = request_id
        self._division = division
        self._request = replace(plan.request(request_id, passage.text), gathered=True)
        self._constraint = Constraint.SCHEMA if plan.free else Constraint.GRAMMAR
        self._answer = ResponseBuffer()
        self._tokens: list[tuple[bytes, float]] = []
        self._attempts: list[PassageAttempt] = []

    def start(self) -> Request:
        """Return the request of the next attempt."""
        self._answer, self._tokens = ResponseBuffer(), []
        request = self._request
        node = self._plan.node
        if self._constraint is Constraint.GRAMMAR and node is not None:
            # the places of all numbers and dates are not kept: many passages wait for their answers
            grammar = values_grammar(node, ValueLocator(self.passage), many=self._plan.many)
            return replace(request, grammar=grammar, logprobs=0)
        return replace(request, schema=self._plan.answer_schema) if self._constraint is Constraint.SCHEMA else request

    def add_event(self, event: Event) -> None:
        """Add an event of the current request."""
        if isinstance(event, TokenLogprobs):
            self._tokens.append((event.token, event.logprob))
        else:
            self._answer.add_event(event)

    def finish_attempt(self) -> Request | None:
        """Return the next request, None at the end.

        Raises errors that end the whole document: time-out, interruption, a limit of cost.
        """
        finished = require_finished(self._answer)
        is_refused = isinstance(finished.error, Unsupported) and self._constraint is not Constraint.NONE
        # the grammar of a passage of many equal parts may be too large
        is_refused |= isinstance(finished.error, BadGrammar) and self._constraint is Constraint.GRAMMAR
        if is_refused:
            self._constraint = Constraint.SCHEMA if self._constraint is Constraint.GRAMMAR else Constraint.NONE
            self._request = replace(self._request, id=f"{self._request.id}.free")
            return self.start()
        attempt = self._read_attempt()
        if attempt.problem == "cut" and self._divide():
            return None
        self._attempts.append(attempt)
        self.outcome = min(self._attempts, key=lambda each: each.rank)
        if not attempt.problem or len(self._attempts) >= MAX_ATTEMPTS or isinstance(self.error, InputError):
            return None
        again = make_retry(self._request, self._plan.options)
        if again is None:
            return None
        self._request = again
        return self.start()

    def _read_attempt(self) -> PassageAttempt:
        finished = require_finished(self._answer)
        try:
            raise_request_error(finished)
        except (TimedOut, ProcessStopped, CostLimitReached):
            raise
        except LlmError as error:
            check_interrupt()
            self.error = error
            return PassageAttempt(problem="cut" if isinstance(error, ContextOverflow) else "failed")
        self.error = None
        is_cut = finished.reason is FinishReason.LENGTH
        try:
            return self._read_values(self._answer.text, is_cut=is_cut)
        except UnusableAnswer as error:
            if is_cut:
                return PassageAttempt(self._salvage(), "cut", ["the answer ended at a limit"])
            return PassageAttempt(problem="invalid", details=[str(error)])

    def _read_values(self, answer: str, *, is_cut: bool = False) -> PassageAttempt:
        """Return the values of an answer. Raises ``UnusableAnswer``."""
        plan = self._plan
        value, text, spans = parse_answer(answer)
        problem = next(plan.answer_validator.iter_errors(value), "")
        if problem:
            raise UnusableAnswer(f"it does not fit the schema: {problem}")
        probabilities = chain(TokenProbabilities(self._tokens).of_spans(text, spans), repeat(None))
        objects, problems = self._look_up(value if plan.many else [value], probabilities)
        is_full = any(_is_full(each, MAX_ITEMS) for each in (value if plan.many else [value]))
        is_full = is_full or (plan.many and _is_full(value, max_objects(self.passage.text)))
        if problems:
            return PassageAttempt(objects, "absent", problems)
        if is_cut or is_full:
            return PassageAttempt(
                objects, "cut", ["the answer ended at a limit" if is_cut else "the text may give more"]
            )
        return PassageAttempt(objects)

    def _look_up(self, values: list[Any], probabilities: Iterator[float | None]) -> tuple[list[Tree], list[str]]:
        plan, locator = self._plan, ValueLocator(self.passage)
        if plan.free or plan.node is None:
            free = FreeAnswerReader(locator, probabilities, plan.example_texts)
            return [free.read(value) for value in values], free.problems
        reader = AnswerReader(locator, probabilities, exact=self._constraint is Constraint.GRAMMAR)
        return [reader.read(plan.node, value, "") for value in values], reader.problems

    def _salvage(self) -> list[Tree]:
        """Return the objects of a list that are complete although the answer was cut."""
        ends = [match.end() for match in _OBJECT_END.finditer(self._answer.text)] if self._plan.many else []
        for end in ends[: -MAX_SALVAGE_TRIALS - 1 : -1]:
            try:
                return self._read_values(f"{self._answer.text[:end]}]", is_cut=True).objects
            except UnusableAnswer:
                continue
        return []

    def _divide(self) -> bool:
        """Divide the passage if it is long enough, at the end of a paragraph, line or sentence if there is one."""
        text = self.passage.text
        if len(text) < MIN_DIVISIBLE_CHARACTERS or self._division >= MAX_DIVISIONS:
            return False
        at = self.passage.start
        for number, piece in enumerate(chunk_text(text, lambda each: len(each) <= len(text) // 2 + 1)):
            if piece.strip():
                part = PassageSpan(self.passage.document, at, at + len(piece))
                name = f"{self._id}.{number}"
                self.divided.append(PassageExtraction(self._plan, part, name, self._division + 1))
            at += len(piece)
        return True


def _is_full(value: Any, limit: int) -> bool:
    """Whether a list in a value has as many items as an answer may give, all different, so that there may be more."""
    if isinstance(value, dict):
        return any(_is_full(each, limit) for each in value.values())
    return isinstance(value, list) and len(value) >= limit and len(set(map(repr, value))) == len(value)
