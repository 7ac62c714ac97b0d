"""Measures whether `llm proofread` ranks wrong words above right ones.

The texts are paragraphs of the descriptions of the Python packages that are installed beside this one. One of about
thirty words is made wrong: half of these have a typing error (two letters exchanged, one left out, added or replaced)
that is no other word of the texts, the others are replaced by another word of nearly the same length. Nothing was
fitted to these texts. The figures are areas under the ROC curve over all words, and the shares of wrong and right words
that are listed.
"""

from __future__ import annotations

import random
import re
import string
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common
from check_quality import area_under_curve, load_documents

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.tasks.proofread import DEFAULT_THRESHOLD_BITS, SuspiciousWord, find_words, proofread
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Result

MIN_PARAGRAPH_CHARS, MAX_TEXT_CHARS = 200, 6000
MIN_LETTER_SHARE = 0.93
MIN_WORD_LETTERS = 4
WRONG_SHARE = 0.05
"""Of the words of at least four letters."""
KINDS = ("typing error", "wrong word")


@dataclass(frozen=True)
class Spoiled:
    """A text, and the kinds of its wrong words by their offsets."""

    text: str
    wrong: dict[int, str]


def load_texts(characters: int) -> list[str]:
    """Return the prose of descriptions, at least ``characters`` in all if there is so much."""
    texts: list[str] = []
    for text in load_documents(parity=0).values():
        prose = [each for each in re.split(r"\n\s*\n", text) if is_prose(each)]
        if prose and sum(map(len, texts)) < characters:
            texts.append("\n\n".join(prose)[:MAX_TEXT_CHARS])
    return texts


def is_prose(paragraph: str) -> bool:
    """Return whether a paragraph is long enough, and has few marks and digits."""
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    return len(paragraph) > MIN_PARAGRAPH_CHARS and letters > MIN_LETTER_SHARE * len(paragraph)


def mistype(word: str, choice: random.Random) -> str:
    """Return a word with one typing error; the word itself if the error changes nothing."""
    at = choice.randrange(1, len(word) - 1)
    letter = choice.choice(string.ascii_lowercase)
    return choice.choice(
        [
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
        ]
    )


def spoil(text: str, vocabulary: list[str], choice: random.Random) -> Spoiled:
    """Return the text with some wrong words."""
    known = set(vocabulary)
    parts: list[str] = []
    wrong: dict[int, str] = {}
    size = at = 0
    for start, end in find_words(text, 0, len(text)):
        word = text[start:end]
        if not _may_be_wrong(word) or choice.random() >= WRONG_SHARE:
            continue
        kind = choice.choice(KINDS)
        if kind == KINDS[0]:
            new = mistype(word, choice)
            if new.lower() in known:
                continue
        else:
            new = choice.choice([each for each in vocabulary if abs(len(each) - len(word)) <= 1])
            new = new.capitalize() if word[0].isupper() else new
        if new.lower() != word.lower():
            parts += [text[at:start], new]
            wrong[size + start - at] = kind
            size, at = size + start - at + len(new), end
    return Spoiled("".join([*parts, text[at:]]), wrong)


def _may_be_wrong(word: str) -> bool:
    return len(word) >= MIN_WORD_LETTERS and word.isalpha() and word.isascii()


def score_texts(backend: Backend, texts: list[Spoiled]) -> list[tuple[float, str]]:
    """Return the bits and the kind of each word, "" for a right one."""
    documents = [Document(str(number), each.text) for number, each in enumerate(texts)]
    found: list[tuple[float, str]] = []
    for event in proofread(backend, documents, GenerationOptions(), SuspiciousWord(0.0)):
        if isinstance(event, Result):
            wrong = texts[event.item].wrong
            found += [(word["score"], wrong.get(word["start"], "")) for word in event.fields["words"]]
    return found


def main() -> None:
    """Score and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--characters", type=int, default=30_000, help="of text (default: 30,000)")
    options = parser.parse_args()
    choice = random.Random(1)  # noqa: S311 (the same errors each time)
    plain = load_texts(options.characters)
    words = [text[start:end].lower() for text in plain for start, end in find_words(text, 0, len(text))]
    vocabulary = sorted({word for word in words if _may_be_wrong(word)})
    texts = [spoil(text, vocabulary, choice) for text in plain]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as kept:
        engine = common.open_engine(common.model_path(options.model), EngineOptions(cache=Path(kept)))
        with engine as backend:
            found = score_texts(backend, texts)
    print(f"{len(found)} words, {sum(bool(kind) for _, kind in found)} wrong, {time.perf_counter() - started:.0f} s")
    row = []
    for kinds in (KINDS, *((kind,) for kind in KINDS)):
        chosen = [(bits, bool(kind)) for bits, kind in found if not kind or kind in kinds]
        row.append(f"{area_under_curve([bits for bits, _ in chosen], [wrong for _, wrong in chosen]):.3f}")
    for is_wrong in (True, False):
        chosen_bits = [bits for bits, kind in found if bool(kind) is is_wrong]
        row.append(f"{sum(bits >= DEFAULT_THRESHOLD_BITS for bits in chosen_bits) / len(chosen_bits):.1%}")
    common.print_table([row], ["all", *KINDS, "listed of the wrong words", "listed of right words"])


if __name__ == "__main__":
    main()
