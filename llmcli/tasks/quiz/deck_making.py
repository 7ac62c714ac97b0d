"""quiz make: a deck of cards about documents. Every answer stands in its quote, and no two cards are alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import zip_longest

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import PartialError
from llmcli.errors.incomplete_results import LARGER_MODEL_ADVICE
from llmcli.errors.network_errors import NotOnServers
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.quiz.blank_scores import WRONG_CHOICES, BlankScorer, ScoredBlank
from llmcli.tasks.quiz.card import LEVELS, Card, CardKind, Level, deck_text, quote_fields
from llmcli.tasks.quiz.source_sentences import SourceSentence, SourceText
from llmcli.tasks.quiz.step_lists import find_step_lists, make_order_card
from llmcli.tasks.quiz.subject_questions import SubjectAsker
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.types import Progress, Result, TaskEvent

DEFAULT_COUNT = 20
MAX_PENDING = 16
"""Few, so that hardly any sentence is scored in vain when the deck is full."""
EASY_BELOW_BITS, HARD_FROM_BITS = 8.0, 12.0
"""Surprisal of the answers of easy cards, and of hard ones."""
ALIKE_FROM = 0.6
"""Share of common terms (Dice coefficient) from which two questions are alike."""
MAX_PER_ANSWER = 2
"""Cards with one answer: further ones would be guessed."""


class DropReason(StrEnum):
    """Why a sentence gave no card."""

    NO_WORD = "no word to ask for"
    GIVEN_AWAY = "the text before it gives the word away"
    AMBIGUOUS = "other answers fit"
    NO_CHOICES = "too few wrong choices"
    NO_QUESTION = "no question about its subject"
    OTHER_LEVEL = "of another level"
    ALIKE = "like another card"


@frozen
class DeckOptions:
    """``count`` cards at most; ``is_required``: fewer are an incomplete result. ``level`` None: all levels."""

    count: int = DEFAULT_COUNT
    kinds: tuple[CardKind, ...] = (CardKind.CLOZE,)
    level: Level | None = None
    is_required: bool = False


def make_deck(
    backend: Backend,
    documents: Sequence[Document],
    generation: GenerationOptions,
    options: DeckOptions,
) -> Iterator[TaskEvent]:
    """Make cards: a Result, or ItemFailed.

    The text of the Result is the deck. Fields: ``cards``, ``sentences`` (that were looked at) and ``dropped``: how many
    of them gave no card, by the reason. A deck without cards fails with a ``PartialError``; one with fewer than are
    required is incomplete. Raises ``NotOnServers`` if the backend does not report the log-probability of each token.
    """
    if not backend.info().token_scores:
        raise NotOnServers("the log-probabilities of a text", detail="the server does not report them")
    name = documents[0].name if len(documents) == 1 else ""
    return run_task(backend, lambda run: _DeckMaker(run, documents, generation, options).make(), name=name)


@frozen
class _CardCandidate:
    """What a card may be made of: a sentence of a source, asked about in a way, or a card that needs no model."""

    kind: CardKind
    source: int
    sentence: SourceSentence | None = None
    card: Card | None = None


class _DeckMaker:
    """Makes one deck."""

    def __init__(
        self,
        run: TaskRun,
        documents: Sequence[Document],
        generation: GenerationOptions,
        options: DeckOptions,
    ) -> None:
        self._run, self._options = run, options
        self._documents = documents
        self._sources = [run_interruptible(SourceText, document, index) for index, document in enumerate(documents)]
        self._scorers = [BlankScorer(run, source, generation, f"{index}") for index, source in enumerate(self._sources)]
        self._askers = [SubjectAsker(run, source, generation, f"{index}") for index, source in enumerate(self._sources)]
        self._dropped: Counter[DropReason] = Counter()
        self._cards: list[Card] = []
        self._terms: list[frozenset[str]] = []
        self._answers: Counter[str] = Counter()

    async def make(self) -> Result:
        """Make the deck: candidates in an order that is spread over the documents, until there are enough cards."""
        candidates = self._spread_candidates()
        looked_at = self._dropped.total()
        made = self._run.each(candidates, self._make_card, limit=MAX_PENDING, max_pending=MAX_PENDING)
        async for card in made:
            looked_at += 1
            if isinstance(card, Card) and self._is_new(card):
                self._add(card)
            elif isinstance(card, DropReason):
                self._dropped[card] += 1
            self._run.report(Progress(len(self._cards), self._options.count, "cards"))
            if len(self._cards) == self._options.count:
                break
        wanted = self._options.count
        missing = _questions_missing(len(self._cards), wanted, looked_at, self._reasons)
        if not self._cards:
            raise missing
        is_short = self._options.is_required and len(self._cards) < wanted
        cards = sorted(self._cards, key=_position)
        fields = {
            "cards": [card.to_json() for card in cards],
            "sentences": looked_at,
            "dropped": {str(reason): count for reason, count in self._dropped.most_common()},
        }
        return self._run.result(deck_text(cards), fields, cut=is_short, incomplete=missing if is_short else None)

    @property
    def _reasons(self) -> tuple[tuple[str, int], ...]:
        return tuple((str(reason), count) for reason, count in self._dropped.most_common())

    # ---- candidates -------------------------------------------------------------------------------------------------

    def _spread_candidates(self) -> list[_CardCandidate]:
        """Return the candidates of all documents and kinds in turn; those of a document in an order drawn at random."""
        queues = [
            self._candidates_of(index, kind) for kind in self._options.kinds for index in range(len(self._sources))
        ]
        in_turn = [each for row in zip_longest(*queues) for each in row if each is not None]
        used: set[tuple[int, int]] = set()
        found = []
        for each in in_turn:  # a sentence is asked about once
            key = (each.source, -1 if each.sentence is None else each.sentence.number)
            if each.sentence is None or key not in used:
                used.add(key)
                found.append(each)
        return found

    def _candidates_of(self, index: int, kind: CardKind) -> list[_CardCandidate]:
        source = self._sources[index]
        if kind is CardKind.ORDER:
            lists = find_step_lists(self._documents[index].text)
            return [
                _CardCandidate(kind, index, card=make_order_card(each, *source.place(each.start))) for each in lists
            ]
        sentences = [*source.sentences]
        if kind is CardKind.SHORT:
            sentences = [each for each in sentences if self._askers[index].has_question(each)]
            left = len(source.sentences) - len(sentences)
            if left and not {CardKind.CLOZE, CardKind.CHOICE} & {*self._options.kinds}:  # else they are asked about so
                self._dropped[DropReason.NO_QUESTION] += left
        random.Random(f"{kind} {index}").shuffle(sentences)  # noqa: S311 (the same deck each time)
        return [_CardCandidate(kind, index, sentence) for sentence in sentences]

    async def _make_card(self, candidate: _CardCandidate) -> Card | DropReason:
        card = candidate.card or await self._ask_about(candidate)
        if isinstance(card, Card) and self._options.level not in {None, card.level}:
            return DropReason.OTHER_LEVEL
        return card

    async def _ask_about(self, candidate: _CardCandidate) -> Card | DropReason:
        """Return the card of a sentence."""
        assert candidate.sentence is not None
        if candidate.kind is CardKind.SHORT:
            question, scored = await self._askers[candidate.source].ask_about(candidate.sentence)
            return _find_drop_reason(scored) or _make_card(candidate.kind, question, scored)
        has_choices = candidate.kind is CardKind.CHOICE
        best = await self._scorers[candidate.source].find_best(candidate.sentence, has_choices=has_choices)
        if best is None:
            return DropReason.NO_WORD
        weakness = _find_drop_reason(best)
        if weakness is not None:
            return weakness
        if has_choices and len(best.wrong) < WRONG_CHOICES:
            return DropReason.NO_CHOICES
        return _make_card(candidate.kind, best.blank.bare_question if has_choices else best.blank.question, best)

    # ---- the deck ---------------------------------------------------------------------------------------------------

    def _is_new(self, card: Card) -> bool:
        """Whether no card of the deck asks the same, or has the same answer."""
        terms = frozenset(find_terms(card.question))
        alike = any(2 * len(terms & other) >= ALIKE_FROM * (len(terms) + len(other)) for other in self._terms)
        if alike or (card.kind is not CardKind.ORDER and self._answers[card.answer.lower()] >= MAX_PER_ANSWER):
            self._dropped[DropReason.ALIKE] += 1
            return False
        return True

    def _add(self, card: Card) -> None:
        self._cards.append(card)
        self._terms.append(frozenset(find_terms(card.question)))
        self._answers[card.answer.lower()] += 1


def _find_drop_reason(scored: ScoredBlank) -> DropReason | None:
    """Return why an answer is not asked for; None if it is."""
    if scored.is_clear:
        return None
    return DropReason.AMBIGUOUS if scored.is_surprising else DropReason.GIVEN_AWAY


def _make_card(kind: CardKind, question: str, best: ScoredBlank) -> Card:
    sentence, answer = best.blank.sentence, best.blank.answer
    choices: tuple[str, ...] = ()
    if kind is CardKind.CHOICE:
        shuffled = [answer, *best.wrong]
        random.Random(question).shuffle(shuffled)  # noqa: S311 (the same order each time)
        choices = tuple(shuffled)
    return Card(kind, question, answer, choices, (), _level_of(best.bits), sentence.topic, quote_fields(sentence.quote))


def _level_of(bits: float) -> Level:
    easy, medium, hard = LEVELS
    return easy if bits < EASY_BELOW_BITS else medium if bits < HARD_FROM_BITS else hard


def _position(card: Card) -> tuple[str, int]:
    assert card.quote is not None
    return card.quote["source"], card.quote["start"]


def _questions_missing(made: int, requested: int, sentences: int, reasons: Sequence[tuple[str, int]]) -> PartialError:
    """Return the error of a deck with too few cards; ``reasons``: why other candidates were dropped."""
    if not sentences:
        message = "no question could be made: no sentence of the input stands for itself, and no list tells steps"
        advice = "Name a document with prose; for --kind order, one with a numbered list of steps."
    else:
        cards = f"{made} of {requested} questions" if made else "no question"
        source = f"{sentences} sentence{'' if sentences == 1 else 's'}"
        dropped = "; ".join(f"{reason}: {count}" for reason, count in reasons)
        message = f"{cards} could be made of {source} ({dropped})"
        advice = f"Name more documents or kinds, or {LARGER_MODEL_ADVICE}"
    return PartialError(message=message, advice=advice, type_name="QuestionsMissing")
