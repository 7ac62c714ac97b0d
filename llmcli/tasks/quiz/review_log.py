"""The answers of a learner, in a file of JSON Lines beside the deck: on the disk before the next question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from llmcli.errors import MissingError
from llmcli.files.synced_lines import SyncedLines, damaged_line, parse_lines
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
    """Return the answers in a file, none if there is no file; a session may write it meanwhile.

    Raises ``BadDocument`` as ``ReviewLog``, and ``MissingError`` if it cannot be read.
    """
    if not path.is_file():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingError(str(path), kind="input", detail=error.strerror or "") from error
    return _parse_reviews(path, parse_lines(path, content)[0])


def _parse_reviews(path: Path, lines: Sequence[Any]) -> list[Review]:
    """Raises ``BadDocument``."""
    if lines and lines[0] != {"version": VERSION}:
        raise damaged_line(path, 1, f'the file of a learner\'s answers begins with {{"version": {VERSION}}}')
    reviews: list[Review] = []
    for number, event in enumerate(lines[1:], 2):
        try:
            _apply(event, reviews)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise damaged_line(path, number, "it is no answer to a card") from error
    return reviews


def _apply(event: Mapping[str, Any], reviews: list[Review]) -> None:
    """Add the answer of a line, or take back the last one."""
    if event.get("undo"):
        reviews.pop()
        return
    at = datetime.fromisoformat(event["at"])
    if at.utcoffset() is None or at.year > _LAST_YEAR:
        raise ValueError(event["at"])
    texts = (str(event["answer"]), str(event["verdict"]))
    reviews.append(
        Review(str(event["card"]), at.astimezone(UTC), Rating(event["rating"]), *texts, bool(event["hinted"]))
    )


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
        self.reviews = _parse_reviews(self.path, lines)

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
        _apply(event, self.reviews)

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
