"""The answers of a learner, and the card that comes next."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from llmcli.errors import BadDocument, UsageError
from llmcli.tasks.quiz.card import Card, CardKind, Level
from llmcli.tasks.quiz.review_log import ReviewLog, read_reviews, reviews_path
from llmcli.tasks.quiz.review_schedule import Rating, Review, ReviewSchedule, order_new_cards, suitable_difficulty

NOW = datetime(2026, 1, 1, 8, tzinfo=UTC)


def review(card="a", rating=Rating.GOOD, minutes=0):
    return Review(card, NOW + timedelta(minutes=minutes), rating, "week", "right")


def test_the_dates_are_those_of_fsrs():
    """A card that is known comes after days, one that is not after minutes."""
    schedule = ReviewSchedule([review(), review(minutes=10), review("b", Rating.AGAIN)])
    assert schedule.due("a") > NOW + timedelta(days=1) and not schedule.is_learning("a")
    assert schedule.due("b") == NOW + timedelta(minutes=1) and schedule.is_learning("b")


def test_due_cards_come_before_new_ones_and_learning_ones_last():
    """A card that is due in days is not asked."""
    schedule = ReviewSchedule([review("known"), review("known", minutes=10), review("forgotten", Rating.AGAIN)])
    cards = ["known", "forgotten", "new"]
    later = NOW + timedelta(minutes=2)
    assert schedule.next_card(cards, later) == "forgotten"
    assert schedule.next_card(cards, NOW) == "new"
    assert schedule.next_card(["known", "forgotten"], NOW) == "forgotten"  # soon
    assert schedule.next_card(["known"], later) is None


def test_a_simulated_learner_reviews_no_more_than_the_schedule_asks():
    """Daily sessions for a quarter of a year, against each card at its time; every fifth answer is wrong."""
    names = [f"card {number}" for number in range(20)]

    def rating(number):
        return Rating.AGAIN if number % 5 == 4 else Rating.GOOD

    plain, asked = ReviewSchedule(), 0
    for name in names:
        due, number = NOW, 0
        while due < NOW + timedelta(days=90):
            plain.review(name, rating(number), due)
            due, number, asked = plain.due(name), number + 1, asked + 1
    own, counts = ReviewSchedule(), dict.fromkeys(names, 0)
    for day in range(90):
        now = NOW + timedelta(days=day)
        while (name := own.next_card(names, now)) is not None:
            own.review(name, rating(counts[name]), now)
            counts[name] += 1
            now += timedelta(seconds=15)
    assert 0.7 * asked < sum(counts.values()) <= 1.1 * asked


def test_new_cards_get_harder_as_the_learner_knows_them():
    """Choices before typed answers, easy words before hard ones."""
    choice = [Card(CardKind.CHOICE, f"q{n}", "a", ("a", "b"), level=Level.EASY) for n in range(5)]
    cloze = [Card(CardKind.CLOZE, f"q{n} ____", "a", level=Level.HARD) for n in range(5)]
    cards = [*cloze, *choice]
    assert [card.kind for card in order_new_cards(cards, [])][:5] == [CardKind.CHOICE] * 5
    good = [review(card.id) for card in choice]
    assert order_new_cards(cards, good)[0].kind is CardKind.CLOZE
    by_id = {card.id: card for card in cards}
    assert suitable_difficulty(by_id, [review(card.id, Rating.AGAIN) for card in choice]) == 0


def test_answers_are_there_again(tmp_path):
    """One that was taken back is not."""
    path = tmp_path / "deck.reviews.jsonl"
    with ReviewLog(path) as log:
        log.add(review("a"))
        log.add(review("b", Rating.AGAIN))
        log.undo()
        log.add(review("b", Rating.HARD))
    with ReviewLog(path) as log:
        assert log.reviews == [review("a"), review("b", Rating.HARD)]


def test_an_answer_is_synced_before_the_next_question(tmp_path, monkeypatch):
    """The bytes are written when the file is synced, and a line that was cut off is removed."""
    path, sizes = tmp_path / "a.jsonl", []
    with ReviewLog(path) as log:
        monkeypatch.setattr(os, "fsync", lambda fd: sizes.append(os.fstat(fd).st_size))
        log.add(review("a"))
        assert sizes == [path.stat().st_size]
        log.add(review("b"))
    path.write_bytes(path.read_bytes()[:-5])
    with ReviewLog(path) as log:
        assert [each.card for each in log.reviews] == ["a"]


ANSWER = '{"card": "a", "at": "%s", "rating": "good", "verdict": "right", "answer": "x", "hinted": false}'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("nothing\n", 1),
        ("nothing", 1),
        ('{"version": 9}\n', 1),
        ('{"version": 9}', 1),
        ("[]\n", 1),
        ('{"version": 1}\n{"card": "a"}\n', 2),
        ('{"version": 1}\n\n', 2),
        ('{"version": 1}\n[1]\n', 2),
        ('{"version": 1}\n{"undo": true}\n', 2),
        ('{"version": 1}\n' + ANSWER % "2026-01-01T08:00:00", 2),
        ('{"version": 1}\n' + ANSWER % "9999-12-31T23:59:59+00:00", 2),
    ],
)
def test_a_file_with_something_else_is_refused_and_kept(tmp_path, content, line):
    """It may be the learner's, or another file that was named by mistake."""
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(BadDocument) as refused:
        ReviewLog(path)
    assert refused.value.line == line and path.read_text() == content


def test_the_last_line_of_an_edited_file_may_have_no_end(tmp_path):
    """No answer is lost; a time may be that of another zone."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"version": 1}\n' + ANSWER % "2026-01-01T10:00:00+02:00")
    with ReviewLog(path) as log:
        log.add(review("b"))
    with ReviewLog(path) as log:
        assert [(each.card, each.at) for each in log.reviews] == [("a", NOW), ("b", NOW)]
        assert ReviewSchedule(log.reviews).due("a") > NOW


def test_two_sessions_do_not_write_one_file(tmp_path):
    """The second one is refused."""
    with ReviewLog(tmp_path / "a.jsonl"), pytest.raises(UsageError, match="in use"):
        ReviewLog(tmp_path / "a.jsonl")


def test_the_answers_lie_beside_the_deck():
    """Their name is that of the deck."""
    assert str(reviews_path("decks/deck.jsonl")) == "decks/deck.reviews.jsonl"
    assert str(reviews_path("deck")) == "deck.reviews.jsonl"


def test_answers_are_read_while_a_session_writes_them(tmp_path):
    """For the figures and for a tutor; a line that is being written does not count, and the file stays as it is."""
    path = tmp_path / "a.jsonl"
    with ReviewLog(path) as log:
        log.add(review())
        assert [each.card for each in read_reviews(path)] == [review().card]
        with path.open("ab") as file:
            file.write(b'{"card": "x", "at"')
        before = path.read_bytes()
        assert len(read_reviews(path)) == 1 and path.read_bytes() == before
    assert read_reviews(tmp_path / "missing.jsonl") == []
