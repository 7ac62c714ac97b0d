"""Schedules the reviews of a learner's cards, and chooses the next new card.

The dates are those of FSRS, the free spaced repetition scheduler of the package ``fsrs``, without random changes, so
that the same answers give the same dates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from llmcli.fast_dataclass import frozen
from llmcli.tasks.quiz.card import LEVELS, Card, CardKind

if TYPE_CHECKING:
    import fsrs

LEARN_AHEAD = timedelta(minutes=20)
"""A card that is learned comes back before its time if it is due so soon and nothing else is to be asked."""
KNOWN_SHARE, KNOWN_ANSWERS = 0.8, 4
"""The share of right ones among the last answers from which harder cards come, and the least number of answers."""
_RECENT = 10


class Rating(StrEnum):
    """How well a card was known, in the words of FSRS."""

    AGAIN = "again"
    HARD = "hard"
    GOOD = "good"


@frozen
class Review:
    """An answer to the card with this id. ``verdict``: right, close or wrong; ``hinted``: a hint was shown."""

    card: str
    at: datetime
    rating: Rating
    answer: str
    verdict: str
    hinted: bool = False


class ReviewSchedule:
    """The memory of a learner: a card is known by its id."""

    def __init__(self, reviews: Iterable[Review] = ()) -> None:
        from fsrs import Scheduler

        self._scheduler = Scheduler(enable_fuzzing=False)
        self._cards: dict[str, fsrs.Card] = {}
        for review in reviews:
            self.review(review.card, review.rating, review.at)

    def review(self, card: str, rating: Rating, at: datetime) -> None:
        """Add an answer at a time in UTC."""
        import fsrs

        known = self._cards.get(card) or fsrs.Card(card_id=len(self._cards) + 1, due=at)
        self._cards[card], _ = self._scheduler.review_card(known, fsrs.Rating[rating.name.title()], at)

    def is_new(self, card: str) -> bool:
        """Whether a card was never answered."""
        return card not in self._cards

    def is_learning(self, card: str) -> bool:
        """Whether a card is in the first steps, or again in them after it was forgotten."""
        import fsrs

        return card in self._cards and self._cards[card].state is not fsrs.State.Review

    def due(self, card: str) -> datetime:
        """Return when an answered card is to be asked again."""
        return self._cards[card].due

    def retrievability(self, card: str, at: datetime) -> float | None:
        """Return the probability that a card is recalled; None for a new one."""
        return None if self.is_new(card) else float(self._scheduler.get_card_retrievability(self._cards[card], at))

    def next_card(self, cards: Sequence[str], now: datetime) -> str | None:
        """Return the card to ask: the one that is due for longest, else the first new one, else one that is due soon.

        None if nothing is to be asked. ``cards``: those of the deck, the new ones in the order in which they come.
        """
        seen = sorted((self.due(card), index) for index, card in enumerate(cards) if not self.is_new(card))
        if seen and seen[0][0] <= now:
            return cards[seen[0][1]]
        new = next((card for card in cards if self.is_new(card)), None)
        if new is not None:
            return new
        soon = [index for due, index in seen if due <= now + LEARN_AHEAD and self.is_learning(cards[index])]
        return cards[soon[0]] if soon else None


def difficulty(card: Card) -> int:
    """Return how hard a card is to answer: by its level, and one more where the answer is typed."""
    return LEVELS.index(card.level) + (card.kind in {CardKind.CLOZE, CardKind.SHORT})


def order_new_cards(cards: Sequence[Card], reviews: Sequence[Review]) -> list[Card]:
    """Return the cards in the order in which new ones come: those whose difficulty suits the learner first.

    The difficulty that suits is the lowest one that the learner has not yet answered well.
    """
    wanted = suitable_difficulty({card.id: card for card in cards}, reviews)
    return sorted(cards, key=lambda card: abs(difficulty(card) - wanted))


def suitable_difficulty(cards: Mapping[str, Card], reviews: Sequence[Review]) -> int:
    """Return the lowest difficulty at which fewer than ``KNOWN_SHARE`` of the last answers were right."""
    highest = max((difficulty(card) for card in cards.values()), default=0)
    for level in range(highest):
        answers = [review for review in reviews if review.card in cards and difficulty(cards[review.card]) == level]
        has_cards = any(difficulty(card) == level for card in cards.values())
        recent = answers[-_RECENT:]
        known = len(recent) >= KNOWN_ANSWERS and _share(recent) >= KNOWN_SHARE
        if has_cards and not known:
            return level
    return highest


def _share(reviews: Sequence[Review]) -> float:
    return sum(review.rating is not Rating.AGAIN for review in reviews) / len(reviews)


def describe_knowledge(cards: Sequence[Card], reviews: Sequence[Review], limit: int) -> str:
    """Return a line for each of the ``limit`` cards that the learner knows least: question, answer, last verdict."""
    last = {review.card: review for review in reviews}
    counts = {verdict: order for order, verdict in enumerate(("wrong", "close", "new", "right"))}

    def verdict_of(card: Card) -> str:
        return last[card.id].verdict if card.id in last else "new"

    weakest = sorted(cards, key=lambda card: counts.get(verdict_of(card), 0))[:limit]
    return "\n".join(f"- {verdict_of(card)}: {card.question} Answer: {card.solution}" for card in weakest)
