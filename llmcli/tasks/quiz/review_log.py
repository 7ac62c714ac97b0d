"""The answers of a learner, in a file of JSON Lines beside the deck: readable, and on the disk before the next question."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from llmcli.files.synced_lines import SyncedLines
from llmcli.tasks.quiz.review_schedule import Rating, Review

VERSION = 1
SUFFIX = ".reviews.jsonl"
_LAST_YEAR = 9000
"""Later ones leave no room for the date of the next question."""


def reviews_path(deck: str) -> Path:
    """Return the file of the answers to a deck: deck.reviews.jsonl for deck.jsonl."""
    path = Path(deck)
    return path.with_name(f"{path.stem if path.suffix == '.jsonl' else path.name}{SUFFIX}")


def read_reviews(path: Path) -> list[Review]:
    """Return the answers in a file, none if there is no file. Raises as ``ReviewLog``."""
    if not path.is_file():
        return []
    with ReviewLog(path) as log:
        return log.reviews


class ReviewLog:
    """The answers in the file at ``path``, in their order.

    Raises as ``SyncedLines``, and ``BadDocument`` with the line of what is no answer: people edit the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reviews: list[Review] = []
        self._lines = SyncedLines(path, "llm quiz run")
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        lines = self._lines.read()
        if not lines:
            self._lines.append({"version": VERSION})
            return
        if lines[0] != {"version": VERSION}:
            raise self._lines.damage(1, f'the file of a learner\'s answers begins with {{"version": {VERSION}}}')
        for number, event in enumerate(lines[1:], 2):
            try:
                self._apply(event)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                raise self._lines.damage(number, "it is no answer to a card") from error

    def _apply(self, event: Mapping[str, Any]) -> None:
        if event.get("undo"):
            self.reviews.pop()
            return
        at = datetime.fromisoformat(event["at"])
        if at.utcoffset() is None or at.year > _LAST_YEAR:
            raise ValueError(event["at"])
        texts = (str(event["answer"]), str(event["verdict"]))
        self.reviews.append(
            Review(str(event["card"]), at.astimezone(UTC), Rating(event["rating"]), *texts, bool(event["hinted"]))
        )

    def add(self, review: Review) -> None:
        """Store an answer. Raises ``CannotCreate`` when it cannot be written."""
        event = {
            "card": review.card,
            "at": review.at.isoformat(timespec="seconds"),
            "rating": str(review.rating),
            "verdict": review.verdict,
            "answer": review.answer,
            "hinted": review.hinted,
        }
        self._lines.append(event)
        self._apply(event)

    def undo(self) -> None:
        """Take back the last answer. Raises ``CannotCreate``."""
        self._lines.append({"undo": True})
        self.reviews.pop()

    def close(self) -> None:
        """Close the file; what it has stays."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
