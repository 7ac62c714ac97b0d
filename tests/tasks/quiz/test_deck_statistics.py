"""Counts of a deck: new, learned, known and due cards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from llmcli.tasks.quiz.card import Card, CardKind
from llmcli.tasks.quiz.deck_statistics import count_cards
from llmcli.tasks.quiz.review_schedule import Rating, Review

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
CARDS = [Card(CardKind.CLOZE, f"Question ____ {number}?", "yes") for number in range(3)]


def review(card, at, verdict="right"):
    return Review(card, at, Rating.GOOD if verdict == "right" else Rating.AGAIN, "yes", verdict)


def test_a_deck_without_answers_is_new():
    """And nothing of it is due."""
    counts = count_cards(CARDS, [], NOW)
    assert (counts.cards, counts.new, counts.due, counts.reviews, counts.next) == (3, 3, 0, 0, None)


def test_each_card_is_new_learned_or_known():
    """Twice right, a card is known; a card that was answered once is due in minutes."""
    first, second, _ = (card.id for card in CARDS)
    answers = [review(first, NOW), review(first, NOW + timedelta(minutes=20)), review(second, NOW, "wrong")]
    counts = count_cards(CARDS, answers, NOW + timedelta(hours=1))
    assert (counts.new, counts.learning, counts.known, counts.due) == (1, 1, 1, 1)
    assert (counts.reviews, counts.right) == (3, 2) and counts.next is not None


def test_answers_to_other_cards_do_not_count():
    """They may be left of a card that was deleted from the deck."""
    assert count_cards(CARDS, [review("0123456789ab", NOW)], NOW).reviews == 0
