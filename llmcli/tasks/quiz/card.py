"""A card of a deck: a question, its answer, and the quote that has it. A deck is a file of JSON Lines, a card each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from llmcli.errors import BadDocument, EmptyInput
from llmcli.fast_dataclass import frozen
from llmcli.tasks.quotes.quotable_text import Quote

VERSION = 1
GAP = "____"
"""Stands in the question of a cloze card where the answer belongs."""
DECK = "deck"
_ID_DIGITS = 12
MIN_CHOICES = 2


class CardKind(StrEnum):
    """How a card asks: a gap to fill, one of several choices, a few words of one's own, or an order of items."""

    CLOZE = "cloze"
    CHOICE = "choice"
    SHORT = "short"
    ORDER = "order"


class Level(StrEnum):
    """How hard the answer of a card is to guess."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


LEVELS = tuple(Level)


@frozen
class Card:
    """A question with its right answer.

    ``choices``: of a choice card, the answer among wrong ones; of a cloze card, wrong answers that may stand beside it;
    of an order card, the items as they are shown. ``items``: the items of an order card in their right order; its
    ``answer`` is their numbers among the choices, such as "2 1 3". ``topic``: the headings above the quote. ``quote``
    has the fields of ``Quote``; None for an imported card.
    """

    kind: CardKind
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    level: Level = Level.MEDIUM
    topic: str = ""
    quote: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """What a learner's answers are stored by: a hash of the question and the answer."""
        said = f"{self.kind}\n{self.question}\n{self.answer}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]

    @property
    def place(self) -> str:
        """Where the quote stands, such as "notes.pdf, p. 3"; "" without one."""
        return "" if self.quote is None else _as_quote(self.quote).place

    @property
    def quoted(self) -> str:
        """The quote in one line; "" without one."""
        return "" if self.quote is None else " ".join(str(self.quote["text"]).split())

    @property
    def solution(self) -> str:
        """The right answer as people read it."""
        return " > ".join(self.items) if self.kind is CardKind.ORDER else self.answer

    def to_json(self) -> dict[str, Any]:
        """Return the card as it stands in a deck."""
        return {
            "version": VERSION,
            "id": self.id,
            "kind": str(self.kind),
            "level": str(self.level),
            "topic": self.topic,
            "question": self.question,
            "answer": self.answer,
            "choices": [*self.choices],
            "items": [*self.items],
            "quote": None if self.quote is None else dict(self.quote),
        }

    def to_line(self) -> str:
        """Return the line of the card in a deck."""
        return json.dumps(self.to_json(), ensure_ascii=False) + "\n"


def quote_fields(quote: Quote) -> dict[str, Any]:
    """Return the fields of a quote that a card keeps."""
    names = ("text", "start", "end", "source", "page", "last_page", "first_line", "last_line")
    return {name: getattr(quote, name) for name in names}


def _as_quote(fields: Mapping[str, Any]) -> Quote:
    """Return the quote of fields that have no problem; a quote of the owner's own may lack the pages."""
    named = {name: fields[name] for name in ("text", "start", "end", "source", "first_line", "last_line")}
    return Quote(page=fields.get("page"), last_page=fields.get("last_page"), **named)


def read_deck(name: str, text: str) -> list[Card]:
    """Return the cards in the text of the deck called ``name``, each once.

    Raises ``BadDocument`` with the line of what is no card, and ``EmptyInput``.
    """
    cards: dict[str, Card] = {}
    for number, line in enumerate(text.split("\n"), 1):  # quotes may have other line ends, such as U+2028
        if line.strip():
            card = read_card(name, line, number)
            cards.setdefault(card.id, card)
    if not cards:
        raise EmptyInput(name)
    return list(cards.values())


def read_card(name: str, line: str, number: int) -> Card:
    """Return the card in line ``number`` of ``name``. Raises ``BadDocument``."""
    try:
        fields = json.loads(line)
        problem = _find_problem(fields)
    except (ValueError, RecursionError) as error:
        raise BadDocument(name, detail="it is no JSON", line=number, kind=DECK) from error
    if problem:
        raise BadDocument(name, detail=problem, line=number, kind=DECK)
    return Card(
        CardKind(fields["kind"]),
        fields["question"],
        fields["answer"],
        tuple(fields.get("choices") or ()),
        tuple(fields.get("items") or ()),
        Level(fields.get("level") or Level.MEDIUM),
        fields.get("topic") or "",
        fields.get("quote"),
    )


def _find_problem(fields: Any) -> str:
    """Return why the fields are no card; "" if they are one. Further fields are the owner's."""
    if not isinstance(fields, dict):
        return "a card is a JSON object"
    if fields.get("version") != VERSION:
        return f"its version is {fields.get('version')!r}, not {VERSION}"
    return _find_field_problem(fields) or _find_kind_problem(fields) or _find_quote_problem(fields.get("quote"))


def _find_field_problem(fields: Mapping[str, Any]) -> str:
    for name in ("kind", "question", "answer"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            return f"{name} must be a text"
    if not isinstance(fields.get("topic") or "", str):
        return "topic must be a text"
    for name in ("choices", "items"):
        if not _is_list_of_texts(fields.get(name) or []):
            return f"{name} must be a list of texts"
    for name, known in (("kind", [*CardKind]), ("level", [*LEVELS, None])):
        if fields.get(name) not in known:
            return f"{name} must be {', '.join(str(each) for each in known if each)}"
    return ""


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)


def _find_kind_problem(fields: Mapping[str, Any]) -> str:
    choices, items = fields.get("choices") or [], fields.get("items") or []
    match fields["kind"]:
        case CardKind.CHOICE if len(set(choices)) < MIN_CHOICES or fields["answer"] not in choices:
            return "a choice card needs two different choices, and the answer among them"
        case CardKind.ORDER if not MIN_CHOICES <= len(items) == len({*items}) or sorted(choices) != sorted(items):
            return "an order card needs two items, all different, and the same ones as choices"
        case CardKind.ORDER if fields["answer"].split() != order_numbers(items, choices):
            return "the answer of an order card is the numbers of its items among the choices"
        case CardKind.CLOZE if GAP not in fields["question"]:
            return f"the question of a cloze card needs a gap: {GAP}"
    return ""


def _find_quote_problem(quote: Any) -> str:
    if quote is None:
        return ""
    if not isinstance(quote, dict):
        return "quote must be an object"
    for name in ("text", "source"):
        if not isinstance(quote.get(name), str):
            return f"quote.{name} must be a text"
    for name in ("start", "end", "first_line", "last_line"):
        if not isinstance(quote.get(name), int):
            return f"quote.{name} must be a whole number"
    for name in ("page", "last_page"):
        if not isinstance(quote.get(name), int | None):
            return f"quote.{name} must be a whole number or null"
    return ""


def order_card(question: str, items: Sequence[str], shown: Sequence[str], **more: Any) -> Card:
    """Return an order card whose items are ``shown`` in another order."""
    return Card(CardKind.ORDER, question, " ".join(order_numbers(items, shown)), tuple(shown), tuple(items), **more)


def order_numbers(items: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Return the right answer to an order card: the numbers of its items as they are shown."""
    return [str(shown.index(item) + 1) for item in items]


def deck_text(cards: Iterable[Card]) -> str:
    """Return the text of a deck."""
    return "".join(card.to_line() for card in cards)
