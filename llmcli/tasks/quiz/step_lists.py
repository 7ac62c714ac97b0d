"""The numbered lists of a document that tell steps: what an order card asks for."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import frozen
from llmcli.tasks.check import plain_claim
from llmcli.tasks.quiz.card import Card, Level, order_card, quote_fields
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.summarize.sentence_candidates import CODE_BLOCK

MIN_ITEMS, MAX_ITEMS = 3, 6
_MAX_ITEM_CHARS = 120
_MAX_TITLE_CHARS = 100
_ITEM = re.compile(
    r"^(?P<indent>[ \t]*)(?P<number>\d{1,2}|#)[.)][ \t]+(?P<text>[^\n]+(?:\n(?P=indent)[ \t]{2,}[^\s][^\n]*)*)",
    re.MULTILINE,
)
_TITLE = re.compile(r"([^\n]*\w[^\n]*)\n\s*\Z")
_IS_SEQUENCE = re.compile(
    r"\b(?:steps?|how to|procedure|process|workflow|in (?:this|the following) order|order of|stages?|phases?|sequence|recipe"
    r"|first|then|next|after(?:wards)?|finally|lastly|once|before)\b",
    re.IGNORECASE,
)


@frozen
class StepList:
    """The items of a numbered list, the line above it, and its offsets in the document."""

    title: str
    items: tuple[str, ...]
    start: int
    end: int


def find_step_lists(text: str) -> Iterator[StepList]:
    """Yield the numbered lists of at least ``MIN_ITEMS`` items whose words tell that they are a sequence.

    Of a long list, the first items.
    """
    blank_code = CODE_BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    run: list[re.Match[str]] = []
    for match in [*_ITEM.finditer(blank_code), None]:
        if match is not None and (not run or _continues(blank_code, run, match)):
            run.append(match)
            continue
        if len(run) >= MIN_ITEMS:
            found = _make_list(blank_code, run)
            if found is not None:
                yield found
        run = [] if match is None else [match]


def _continues(text: str, run: Sequence[re.Match[str]], match: re.Match[str]) -> bool:
    between = text[run[-1].end() : match.start()]
    follows = match["number"] == "#" or match["number"] == str(len(run) + 1)
    return (
        follows
        and match["indent"] == run[-1]["indent"]
        and all(not line.strip() or line.startswith((" ", "\t")) for line in between.splitlines())
    )


def _make_list(text: str, run: Sequence[re.Match[str]]) -> StepList | None:
    if run[0]["number"] not in {"1", "#"}:
        return None
    above = _TITLE.search(text[: run[0].start()])
    title = "" if above is None else plain_claim(above[1].strip().lstrip("#").strip()).text.rstrip(":")
    items = [_first_sentence(match["text"]) for match in run[:MAX_ITEMS]]
    told = sum(_IS_SEQUENCE.search(match["text"]) is not None for match in run)
    if not _IS_SEQUENCE.search(title) and told < len(run) / 2:
        return None
    if len(set(items)) < len(items) or any(not item or len(item) > _MAX_ITEM_CHARS for item in items):
        return None
    return StepList(title[:_MAX_TITLE_CHARS], tuple(items), run[0].start("number"), run[:MAX_ITEMS][-1].end())


def _first_sentence(item: str) -> str:
    plain = plain_claim(item).text
    first = next(find_sentences(plain), (0, len(plain)))
    return plain[first[0] : first[1]].rstrip(".:")


def make_order_card(found: StepList, places: QuotableDocument, topic: str) -> Card:
    """Return the card of a list, with its items in an order that depends on nothing else."""
    shown = [*found.items]
    choice = random.Random("\n".join(found.items))  # noqa: S311 (the same order each time)
    while tuple(shown) == found.items:
        choice.shuffle(shown)
    question = f"Put in order: {found.title}" if found.title else "Put these steps in order"
    quote = quote_fields(places.quote(found.start, found.end))
    level = Level.EASY if len(shown) == MIN_ITEMS else Level.MEDIUM if len(shown) < MAX_ITEMS else Level.HARD
    return order_card(question, found.items, shown, level=level, topic=topic, quote=quote)
