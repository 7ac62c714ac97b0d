"""Counts of what a learner knows of a deck."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from llmcli.fast_dataclass import frozen
from llmcli.tasks.quiz.card import Card
from llmcli.tasks.quiz.review_schedule import Review, ReviewSchedule


@frozen
class DeckStatistics:
    """Numbers of cards: ``new`` ones were never answered, the others are ``learning`` or ``known``, and some are ``due``.

    ``reviews``: the answers, of which so many were ``right``. ``next``: when the first card is due; None if all are new.
    """

    cards: int
    new: int
    learning: int
    known: int
    due: int
    reviews: int
    right: int
    next: datetime | None


def count_cards(cards: Sequence[Card], reviews: Iterable[Review], now: datetime) -> DeckStatistics:
    """Return the counts of a deck; answers to cards of other decks do not count."""
    ids = {card.id for card in cards}
    own = [review for review in reviews if review.card in ids]
    schedule = ReviewSchedule(own)
    seen = [card.id for card in cards if not schedule.is_new(card.id)]
    learning = sum(map(schedule.is_learning, seen))
    return DeckStatistics(
        cards=len(cards),
        new=len(cards) - len(seen),
        learning=learning,
        known=len(seen) - learning,
        due=sum(schedule.due(card) <= now for card in seen),
        reviews=len(own),
        right=sum(review.verdict == "right" for review in own),
        next=min(map(schedule.due, seen), default=None),
    )
