"""Decks in other forms: for Anki, as Markdown to read, and from a table.

Anki's import reads the lines ``#separator``, ``#html`` and ``#columns`` before the notes (Anki manual, "Text files").
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmcli.documents.delimited_table import DelimitedTable
from llmcli.errors import BadDocument, EmptyInput
from llmcli.tasks.quiz.card import DECK, GAP, LEVELS, Card, CardKind, Level, order_card, read_card

ANKI_PACKAGE_SUFFIX = ".apkg"
ANKI_TEXT_SUFFIX = ".txt"
LIST_SEPARATOR = "|"
"""Separates choices, or the items of an order, in a field of a table."""
_ANKI_HEAD = "#separator:tab\n#html:true\n#columns:Front\tBack\tTags\n#tags column:3\n"
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")
_COLUMNS = ("question", "answer")


def anki_text(cards: Iterable[Card]) -> str:
    """Return a text file that Anki imports: front, back and tags of each card."""
    output = io.StringIO()
    writer = csv.writer(output, delimiter="\t", lineterminator="\n")
    for card in cards:
        front, back = card_sides(card)
        if front.startswith("#"):
            front = f"&#35;{front[1:]}"  # Anki skips a line that begins with # as a comment
        writer.writerow([front, back, f"{card.kind} {card.level}"])
    return _ANKI_HEAD + output.getvalue()


def card_sides(card: Card) -> tuple[str, str]:
    """Return front and back of a card in HTML: the question with its choices, and the answer with its source."""
    front = [card.question, *numbered(card)]
    back = [f"<b>{html.escape(card.solution)}</b>", *map(html.escape, _source_lines(card))]
    return "<br>".join(map(html.escape, front)), "<br>".join(back)


def markdown_text(cards: Sequence[Card]) -> str:
    """Return the questions, and below them the answers with their sources, both numbered."""
    questions, answers = ["# Questions\n"], ["# Answers\n"]
    for number, card in enumerate(cards, 1):
        choices = "".join(f"\n   - {_escape(line)}" for line in numbered(card))
        questions.append(f"{number}. {_escape(card.question)}{choices}\n")
        source = "".join(f"\n   > {_escape(line)}" for line in _source_lines(card))
        answers.append(f"{number}. **{_escape(card.solution)}**{source}\n")
    return "\n".join([*questions, *answers])


def numbered(card: Card) -> list[str]:
    """Return the choices or items of a card as they are shown, each after its number."""
    if card.kind is CardKind.CLOZE:
        return []
    return [f"{number}) {choice}" for number, choice in enumerate(card.choices, 1)]


def _source_lines(card: Card) -> list[str]:
    return [] if card.quote is None else [card.quoted, card.place]


def _escape(text: str) -> str:
    """Return a text in one line, whose marks are no Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def read_table(name: str, text: str) -> list[Card]:
    """Return the cards of a table with the columns question and answer, and perhaps kind, choices, level and topic.

    A question with a gap (``____``) is a cloze card, one with choices (separated by ``|``) a choice card, others are
    short ones. Of an order card, the answer has the items in their order. Raises ``BadDocument`` and ``EmptyInput``.
    """
    table = DelimitedTable(io.StringIO(text, newline=""), name)
    header = [title.strip().lower() for title in table.header]
    missing = [column for column in _COLUMNS if column not in header]
    if not header:
        raise EmptyInput(name)
    if missing:
        raise BadDocument(name, detail=f"it has no column {missing[0]}", line=1, kind="deck table")
    twice = next((title for title in header if title and header.count(title) > 1), None)
    if twice is not None:
        raise BadDocument(name, detail=f"it has two columns {twice}", line=1, kind="deck table")
    cards: dict[str, Card] = {}
    for row in _read_rows(name, table):
        fields = {title: value.strip() for title, value in zip(header, row, strict=False)}
        if any(fields.values()):
            card = read_card(name, _make_card(name, table.line, fields).to_line(), table.line)
            cards.setdefault(card.id, card)
    if not cards:
        raise EmptyInput(name)
    return [*cards.values()]


def _read_rows(name: str, table: DelimitedTable) -> Iterator[list[str]]:
    """Yield the rows of a table. Raises ``BadDocument`` for one that is malformed, or has a text without a column."""
    while (row := table.read_row()) is not None:
        excess = any(field.strip() for field in row[len(table.header) :])
        detail = (
            f"{len(row)} fields for {len(table.header)} columns: put a text that has a {table.delimiter!r} in quotes"
        )
        if table.problem or excess:
            raise BadDocument(name, detail=table.problem or detail, line=table.line, kind=DECK)
        yield row


def _make_card(name: str, line: int, fields: Mapping[str, str]) -> Card:
    question, answer = fields.get("question", ""), fields.get("answer", "")
    choices = tuple(each.strip() for each in fields.get("choices", "").split(LIST_SEPARATOR) if each.strip())
    kind = fields.get("kind") or (CardKind.CLOZE if GAP in question else CardKind.CHOICE if choices else CardKind.SHORT)
    level = fields.get("level") or Level.MEDIUM
    for title, value, known in (("kind", kind, [*CardKind]), ("level", level, LEVELS)):
        if value not in known:
            raise BadDocument(name, detail=f"{title} is {value}, not one of {', '.join(known)}", line=line, kind=DECK)
    if not question or not answer:
        raise BadDocument(name, detail="a card needs a question and an answer", line=line, kind=DECK)
    topic = fields.get("topic", "")
    if kind == CardKind.ORDER:
        items = [each.strip() for each in answer.split(LIST_SEPARATOR) if each.strip()]
        return order_card(question, items, sorted(items), level=Level(level), topic=topic)
    if kind == CardKind.CHOICE and answer not in choices:
        choices = tuple(sorted([*choices, answer]))
    return Card(CardKind(kind), question, answer, choices, (), Level(level), topic)
