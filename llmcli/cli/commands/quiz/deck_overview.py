"""The knowledge of a learner in numbers: of the decks of a directory, and of one deck."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.quiz.deck_files import read_cards, require_state, state_path
from llmcli.errors import BadDocument, LlmError, MissingError
from llmcli.fast_dataclass import asdict
from llmcli.tasks.quiz.card import read_card
from llmcli.tasks.quiz.deck_statistics import DeckStatistics, count_cards
from llmcli.tasks.quiz.review_log import SUFFIX, read_reviews, reviews_path

_COLUMNS = ("cards", "new", "learning", "known", "due")
_MAX_CARD_CHARS = 1_000_000


def list_decks(ctx: CommandContext) -> int:
    """Print the decks of the current directory; return the exit code, which is the error's of one that is damaged."""
    rows: list[dict[str, Any]] = []
    code = 0
    for deck in find_decks(Path()):
        ctx.runtime.interrupt.check()
        counts: dict[str, Any] = dict.fromkeys(_COLUMNS)
        try:
            counts |= asdict(_read_statistics(ctx, deck, reviews_path(deck)))
        except LlmError as error:
            ctx.console.write_error(error, name=deck)
            code = code or error.exit_code
        rows.append({"deck": deck, **{name: counts[name] for name in _COLUMNS}})
    if ctx.console.writes_for_people and not rows:
        ctx.console.write_stdout("No deck is in this directory. To make one: llm quiz make FILE -o deck.jsonl\n")
    ctx.console.write_table(rows)
    return code


def find_decks(directory: Path) -> Iterator[str]:
    """Yield the names of the decks in a directory: files of JSON Lines that have answers or begin with a card.

    Raises ``MissingError`` if the directory cannot be read.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".jsonl")
    except PermissionError as error:
        raise MissingError(str(directory), kind="place", detail=error.strerror or "") from error
    for path in paths:
        is_deck = path.is_file() and not path.name.endswith(SUFFIX)
        if is_deck and (reviews_path(str(path)).is_file() or _begins_with_card(path)):
            yield str(path)


def _begins_with_card(path: Path) -> bool:
    """Return whether a file can be read and its first line is a card."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            line = file.readline(_MAX_CARD_CHARS)
        read_card(path.name, line, 1)
    except (OSError, BadDocument):
        return False
    return True


def show_deck(ctx: CommandContext, deck: str, state: str | None) -> int:
    """Print what a learner's answers tell; raises ``MissingError`` if ``state`` does not exist.

    At first, all cards are new.
    """
    path = state_path(deck, None) if state is None else require_state(deck, state)
    statistics = _read_statistics(ctx, deck, path)
    values = {"answers": str(path), **asdict(statistics)}
    if ctx.console.as_json:
        values["next"] = None if statistics.next is None else statistics.next.isoformat()
    else:
        values["right"] = f"{statistics.right / statistics.reviews:.0%}" if statistics.reviews else "-"
        values["next"] = "-" if statistics.next is None else statistics.next.astimezone().isoformat(" ", "minutes")
    ctx.console.write_record(values)
    return 0


def _read_statistics(ctx: CommandContext, deck: str, answers: Path) -> DeckStatistics:
    return count_cards(read_cards(ctx, deck), read_reviews(answers), datetime.now(UTC))
