"""Answers of a scripted model for a long text: an outline of the wanted shape, and paragraphs of the wanted length."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import count

from scripted import ScriptedAnswer, all_messages, last_message

from llmcli.types import Request

_WORDS = [
    "amber",
    "basin",
    "candle",
    "dapple",
    "ember",
    "fallow",
    "garnet",
    "harbor",
    "island",
    "jasper",
    "kettle",
    "lantern",
    "meadow",
    "nickel",
    "orchard",
    "pebble",
    "quarry",
    "ribbon",
    "saddle",
    "timber",
    "umber",
    "velvet",
    "willow",
    "yarrow",
    "zephyr",
    "acorn",
    "birch",
    "cedar",
    "dune",
    "eddy",
    "fern",
    "grove",
    "hazel",
    "iris",
]


def unique_sentences(start: int = 0) -> Iterator[str]:
    """Yield sentences of ten words, no two of which have more than a few words in common."""
    for number in count(start):
        chosen = random.Random(number).sample(_WORDS, 8)
        yield f"The {' '.join(chosen)} {_spell(number)}."


_REVISED_FROM = 20_000
_TITLES = (
    "Heat loss", "Costs", "Noise", "Radiators", "Subsidies", "Installers", "Neighbours", "Maintenance", "Electricity",
    "Insulation", "Outlook", "Mistakes",
)  # fmt: skip


def _spell(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)) + "x"


def with_verdict(
    answer: Callable[[Request], ScriptedAnswer], *, agrees: bool = True
) -> Callable[[Request], ScriptedAnswer]:
    """Return what ``answer`` does, with a verdict on each sentence that is checked: a source supports it, or none does."""

    def judge(request: Request) -> ScriptedAnswer:
        if not request.candidates:
            return answer(request)
        yes = agrees and "N/A" not in all_messages(request)
        return {"Yes": -0.01 if yes else -5.0, "No": -5.0 if yes else -0.01}

    return judge


class LongTextModel:
    """Answers as a good model would. ``start`` chooses its sentences."""

    def __init__(self, start: int = 0) -> None:
        self._sentences = unique_sentences(start)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> ScriptedAnswer:
        """Return the answer to a request."""
        self.requests.append(request)
        return self.write(last_message(request))

    def write(self, text: str) -> str:
        """Return the answer to a message."""
        if "Write the outline of" in text:
            return self.outline(text)
        again = re.search(r"^Write this section again(?: in about (\d+) words)?", text, re.MULTILINE)
        if again:
            new = unique_sentences(_REVISED_FROM)
            return " ".join(next(new) for _ in range(round(int(again[1] or 30) / 10)))
        bullets = re.search(r"^Write (\d+) bullets about (.*?) \(", text, re.MULTILINE)
        if bullets:
            return f"- {bullets[2]}: {self._say(10)}\n" + "".join(
                f"- {self._say(10)}\n" for _ in range(int(bullets[1]) - 1)
            )
        words = re.search(r"about (\d+) words", text)
        point = re.search(r"should know about (.*?) \(|^Now explain (.*), in about", text, re.MULTILINE)
        return self.paragraph(next(filter(None, point.groups())) if point else "", int(words[1]) if words else 30)

    def paragraph(self, point: str, words: int) -> str:
        """Return about so many words about a point."""
        return f"{point.capitalize()}: {self._say(words - len(point.split()))}" if point else self._say(words)

    def _say(self, words: int) -> str:
        """Return about so many words that were not said before."""
        return " ".join(next(self._sentences) for _ in range(max(1, round(words / 10))))

    def outline(self, text: str) -> str:
        """Return the outline that a prompt asks for."""
        counts = re.findall(r"(Chapters|Sections): (\d+)|(\d+) (sections|points?)\b", text.splitlines()[-1])
        shape = {(name or other).lower().rstrip("s"): int(number or more) for name, number, more, other in counts}
        names, titles = iter(unique_sentences(5000)), iter(_TITLES)
        lines: list[str] = []
        for _ in range(shape.get("chapter", 1)):
            if "chapter" in shape:
                lines.append(f"## {next(titles, _title(next(names)))}")
            for _ in range(shape["section"]):
                lines.append(f"{'###' if 'chapter' in shape else '##'} {next(titles, _title(next(names)))}")
                lines += [f"- {_title(next(names))}" for _ in range(shape.get("point", 1))]
        return "\n".join(lines) + "\n"


def _title(sentence: str) -> str:
    return " ".join(sentence.rstrip(".").split()[1:5]).capitalize()
