"""Answers to a deck from a file or a pipe, and their score: a class, or a test of a model, in a script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.quiz.deck_files import state_path
from llmcli.cli.input import document_inputs, inputs
from llmcli.documents.reading.document import STDIN
from llmcli.errors import BadDocument, PartialError, UnavailableError, UsageError
from llmcli.tasks.quiz.answer_check import CheckedAnswer, Judge, Verdict, check_answer, make_judge
from llmcli.tasks.quiz.card import Card
from llmcli.tasks.quiz.review_log import ReviewLog
from llmcli.tasks.quiz.review_schedule import Rating, Review

_NO_ANSWER = "an answer is an object with id, a text, and answer, a text or a number"


class LazyJudge:
    """Asks the model about an answer that is not right by its form; the model is loaded for the first one.

    Without a model, answers are judged by their form alone, which is said once.
    """

    def __init__(self, ctx: CommandContext) -> None:
        self._ctx = ctx
        self._judge: Judge | None = None
        self._is_missing = False

    def check(self, card: Card, answer: str) -> CheckedAnswer:
        """Return the verdict on an answer. Raises the failure of a request."""
        return check_answer(card, answer, None if self._is_missing else self._ask)

    def _ask(self, card: Card, answer: str) -> float:
        try:
            if self._judge is None:
                backend = self._ctx.runtime.backend()
                self._judge = make_judge(backend, self._ctx.runtime.prompts, self._ctx.generation_options())
            return self._judge(card, answer)
        except UnavailableError as error:
            from llmcli.cli.console.error_messages import describe

            self._is_missing = True
            self._ctx.console.warn(f"no model judges the answers, only their form counts: {describe(error)[0]}")
            return 0.0


def score_answers(ctx: CommandContext, deck: str, cards: Sequence[Card], name: str | None, state: str | None) -> int:
    """Print a verdict for each card and return the exit code; 3 if answers are missing.

    The answers count for the learner only if ``state`` names a file. Raises ``UsageError`` and ``BadDocument``.
    """
    source = STDIN if name is None else name
    if source == STDIN and (deck == STDIN or not inputs.reads_stdin(ctx, [])):
        raise UsageError(
            "no answers", detail="Try: llm quiz run deck.jsonl --answers answers.txt, or run it on a terminal"
        )
    answers = read_answers(cards, source, document_inputs.read_document(ctx, source).text)
    judge, rows, counts = LazyJudge(ctx), [], Counter[Verdict]()
    log = None if state is None else ReviewLog(state_path(deck, state))
    try:
        for card in cards:
            ctx.runtime.interrupt.check()
            given = answers.get(card.id, "")
            checked = judge.check(card, given)
            counts[checked.verdict] += 1
            rows.append(_row(ctx, card, given, checked))
            if log is not None and checked.verdict is not Verdict.NONE:
                rating = Rating.GOOD if checked.verdict is Verdict.RIGHT else Rating.AGAIN
                log.add(Review(card.id, datetime.now(UTC), rating, given, str(checked.verdict)))
    finally:
        if log is not None:
            log.close()
    ctx.console.write_table(rows, preview="question")
    ctx.console.write_note(describe_counts(counts))
    return PartialError.exit_code if counts[Verdict.NONE] else 0


def describe_counts(counts: Counter[Verdict]) -> str:
    """Return "7 of 10 right, 1 close, 2 without an answer"."""
    said = [f"{counts[Verdict.RIGHT]} of {sum(counts.values())} right"]
    said += [f"{counts[Verdict.CLOSE]} close"] if counts[Verdict.CLOSE] else []
    said += [f"{counts[Verdict.NONE]} without an answer"] if counts[Verdict.NONE] else []
    return ", ".join(said)


def _row(ctx: CommandContext, card: Card, given: str, checked: CheckedAnswer) -> dict[str, Any]:
    row: dict[str, Any] = {"id": card.id, "verdict": str(checked.verdict), "given": given, "answer": card.answer}
    if ctx.console.as_json:
        probability = None if checked.probability is None else round(checked.probability, 4)
        return {**row, "probability": probability, "kind": str(card.kind), "level": str(card.level)}
    return {**row, "question": card.question}


def read_answers(cards: Sequence[Card], name: str, text: str) -> Mapping[str, str]:
    """Return the answers by the id of their card.

    A line is the answer to the card in its place, blank for none, or an object with ``id`` and ``answer``. Raises
    ``UsageError`` for more answers than cards and ids of other cards, and ``BadDocument``.
    """
    lines = text.removesuffix("\n").split("\n") if text else []
    if lines and lines[0].lstrip().startswith("{"):
        return _read_objects(cards, name, lines)
    if len(lines) > len(cards):
        told = f"{len(cards)} card{'' if len(cards) == 1 else 's'}"
        raise UsageError(f"{_title(name)} has {len(lines)} answers to {told}")
    return {card.id: line.strip() for card, line in zip(cards, lines, strict=False)}


def _read_objects(cards: Sequence[Card], name: str, lines: Sequence[str]) -> dict[str, str]:
    ids, answers = {card.id for card in cards}, dict[str, str]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            key, answer = fields["id"], fields["answer"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadDocument(name, detail=_NO_ANSWER, line=number, kind="deck") from error
        if not isinstance(key, str) or not isinstance(answer, str | int | float | None):
            raise BadDocument(name, detail=_NO_ANSWER, line=number, kind="deck")
        if key not in ids:
            raise UsageError(f"{_title(name)} answers a card that is not asked: {key}")
        if key in answers:
            raise BadDocument(name, detail=f"card {key} is answered twice", line=number, kind="deck")
        answers[key] = "" if answer is None else str(answer)
    return answers


def _title(name: str) -> str:
    return "standard input" if name == STDIN else name
