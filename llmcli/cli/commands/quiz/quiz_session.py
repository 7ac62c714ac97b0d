"""One session of ``llm quiz run`` on a terminal: the cards that are due, then new ones that suit the learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.quiz.deck_files import state_path
from llmcli.cli.commands.quiz.scored_answers import LazyJudge, describe_counts
from llmcli.cli.console import confirm, key_reader, sanitize
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.console.wrapping import wrap_words
from llmcli.errors import Interrupted, LlmError, ProcessStopped, TimedOut
from llmcli.tasks.quiz.answer_check import CheckedAnswer, Verdict, explain
from llmcli.tasks.quiz.card import Card, CardKind
from llmcli.tasks.quiz.review_log import ReviewLog
from llmcli.tasks.quiz.review_schedule import Rating, Review, ReviewSchedule, order_new_cards

HINT, WHY, SKIP, QUIT, OVERRULE = "hint", "why", "skip", "quit", "right"
_KEYS = {"h": HINT, "w": WHY, "s": SKIP, key_reader.END_OF_INPUT: QUIT}
_TYPED_HELP = "/hint  /why  /skip  /quit"
_KEY_HELP = "[h] hint  [w] why  [s] skip  [q] quit"
_MAX_KEYS = 9


class QuizSession:
    """Asks at most ``count`` cards, ``new`` of them new."""

    def __init__(
        self, ctx: CommandContext, deck: str, cards: Sequence[Card], state: str | None, *, count: int | None, new: int
    ) -> None:
        self._ctx, self._console = ctx, ctx.console
        self._cards = cards
        self._path = state_path(deck, state)
        self._count, self._new = count, new
        self._judge = LazyJudge(ctx)
        self._counts = Counter[Verdict]()
        self._hints = 0

    def run(self) -> int:
        """Ask until the learner quits or nothing is due; return the exit code."""
        with ReviewLog(self._path) as log:
            try:
                self._ask_due(log)
            except Interrupted:
                again = format_command(*self._console.environment.argv)
                self._console.write_message(f"llm: your answers are in {self._path}; to go on: {again}")
                raise
            self._say_goodbye(log)
        if self._console.as_json:
            counts = {str(verdict): self._counts[verdict] for verdict in (Verdict.RIGHT, Verdict.CLOSE, Verdict.WRONG)}
            self._console.write_record({"answers": str(self._path), **counts})
        return 0

    def _ask_due(self, log: ReviewLog) -> None:
        by_id = {card.id: card for card in self._cards}
        schedule = ReviewSchedule(review for review in log.reviews if review.card in by_id)
        skipped: set[str] = set()
        num_new = 0
        while self._count is None or sum(self._counts.values()) < self._count:
            ordered = [card.id for card in order_new_cards(self._cards, log.reviews) if card.id not in skipped]
            if num_new >= self._new:
                ordered = [each for each in ordered if not schedule.is_new(each)]
            chosen = schedule.next_card(ordered, datetime.now(UTC))
            if chosen is None:
                return
            is_new = schedule.is_new(chosen)
            due = sum(not schedule.is_new(each) and schedule.due(each) <= datetime.now(UTC) for each in ordered)
            outcome = self._ask(by_id[chosen], f"{due} due" if due else "new" if is_new else "again")
            if outcome == QUIT:
                return
            if isinstance(outcome, str):
                skipped.add(chosen)
                continue
            num_new += is_new
            review = self._finish(log, by_id[chosen], outcome)
            if review is None:
                return
            schedule.review(review.card, review.rating, review.at)

    # ---- a question -------------------------------------------------------------------------------------------------

    def _ask(self, card: Card, progress: str) -> tuple[str, CheckedAnswer] | str:
        """Return the learner's answer and the verdict, or ``SKIP`` or ``QUIT``."""
        self._hints = 0
        by_key = card.kind is CardKind.CHOICE and len(card.choices) <= _MAX_KEYS
        heading = "  ".join(part for part in (progress, str(card.level), card.topic) if part)
        self._show(["", "-" * self._columns, heading, *self._wrap(card.question), *self._choice_lines(card)])
        while True:
            typed = self._read_key(card) if by_key else self._read_line()
            if typed in {QUIT, SKIP}:
                return typed
            if typed == HINT:
                self._hints += 1
                self._show([make_hint(card, self._hints)])
            elif typed == WHY:
                self._hints += 1
                self._explain(card)
            elif typed:
                return typed, self._judge.check(card, typed)

    def _choice_lines(self, card: Card) -> list[str]:
        if card.kind is CardKind.CLOZE or not card.choices:
            return []
        lines = [line for number, choice in enumerate(card.choices, 1) for line in self._wrap(f"[{number}] {choice}")]
        return ["", *lines, *(["", "the numbers in their order:"] if card.kind is CardKind.ORDER else [])]

    def _read_key(self, card: Card) -> str:
        numbers = "123456789"[: len(card.choices)]
        with key_reader.single_keys(self._console.environment.stdin):
            while True:
                key = key_reader.read_key(self._console, lambda: self._show([_KEY_HELP]))
                if key in numbers and key:
                    return key
                if key in _KEYS:
                    return _KEYS[key]

    def _read_line(self) -> str:
        """Return the typed answer, or the action of a slash command; "" for another slash command."""
        line = confirm.read_line(self._console, f"{_TYPED_HELP}\n> ")
        if line is None:
            return QUIT
        if not line.startswith("/"):
            return line
        action = line[1:].strip().lower()
        return action if action in _KEYS.values() else ""

    # ---- its answer -------------------------------------------------------------------------------------------------

    def _finish(self, log: ReviewLog, card: Card, outcome: tuple[str, CheckedAnswer]) -> Review | None:
        """Store an answer, show the verdict and the source; None if the learner quits then."""
        answer, checked = outcome
        review = self._make_review(card, answer, checked.verdict)
        log.add(review)
        self._counts[checked.verdict] += 1
        if checked.verdict is Verdict.RIGHT:
            self._show(["Right."])
            return review
        said = "Close" if checked.verdict is Verdict.CLOSE else "Wrong"
        self._show([*self._wrap(f"{said}. The answer: {card.solution}"), *self._source_lines(card)])
        while True:
            action = self._read_action()
            if action == WHY:
                self._explain(card)
            elif action == OVERRULE:
                log.undo()
                review = self._make_review(card, answer, Verdict.RIGHT)
                log.add(review)
                self._counts[checked.verdict] -= 1
                self._counts[Verdict.RIGHT] += 1
                return review
            else:
                return None if action == QUIT else review

    def _read_action(self) -> str:
        actions = {"w": WHY, "r": OVERRULE, key_reader.END_OF_INPUT: QUIT, "\n": "", "\r": "", " ": ""}
        text = "[Enter] next  [w] why  [r] I was right  [q] quit"
        with key_reader.single_keys(self._console.environment.stdin):
            while (key := key_reader.read_key(self._console, lambda: self._show([text]))) not in actions:
                pass
        return actions[key]

    def _make_review(self, card: Card, answer: str, verdict: Verdict) -> Review:
        known = Rating.HARD if self._hints else Rating.GOOD
        rating = known if verdict is Verdict.RIGHT else Rating.AGAIN
        given = card.choices[int(answer) - 1] if card.kind is CardKind.CHOICE and answer.isdecimal() else answer
        return Review(card.id, datetime.now(UTC), rating, given, str(verdict), bool(self._hints))

    def _source_lines(self, card: Card) -> list[str]:
        return [] if card.quote is None else [*self._wrap(f'"{card.quoted}"'), f"({card.place})"]

    def _explain(self, card: Card) -> None:
        """Show the quote, and what the model says about it."""
        self._show(self._source_lines(card) or ["This card has no source."])
        if card.quote is None:
            return
        runtime = self._ctx.runtime
        try:
            text = explain(runtime.backend(), runtime.prompts, card, self._ctx.generation_options())
        except (ProcessStopped, TimedOut):
            raise
        except LlmError as error:  # the quote is there; the session goes on
            self._console.write_error(error)
        else:
            self._show(["", *self._wrap(text or "(The model says nothing that stands in the source.)")])

    # ---- the terminal -----------------------------------------------------------------------------------------------

    @property
    def _columns(self) -> int:
        environment = self._console.environment
        return max(20, environment.columns(environment.stderr) - 1)

    def _wrap(self, text: str) -> list[str]:
        return [*wrap_words(sanitize.single_line(text), self._columns)]

    def _show(self, lines: Sequence[str]) -> None:
        self._console.write_stderr("\n".join(lines))

    def _say_goodbye(self, log: ReviewLog) -> None:
        if not sum(self._counts.values()):
            schedule = ReviewSchedule(log.reviews)
            seen = [card.id for card in self._cards if not schedule.is_new(card.id)]
            due = min(map(schedule.due, seen), default=None)
            when = "" if due is None else f"; the next card comes on {due.astimezone():%Y-%m-%d at %H:%M}"
            self._console.write_message(f"llm: nothing was answered{when}")
            return
        self._console.write_message(f"llm: {describe_counts(self._counts)}; your answers are in {self._path}")


def make_hint(card: Card, number: int) -> str:
    """Return the hint of this number: one letter more of the answer each time, or one wrong choice less."""
    if card.kind is CardKind.ORDER:
        return f"It begins with {' '.join(card.answer.split()[:number])}"
    if card.kind is CardKind.CHOICE:
        wrong = [choice for choice in card.choices if choice != card.answer]
        return f"Not {', not '.join(wrong[: min(number, len(wrong) - 1)])}"
    shown = card.answer[: min(number + 1, len(card.answer) - 1)]
    return f"{shown}... ({len(card.answer)} letters)"
