"""The sentences of documents that a question may be about, and the words of them that may be asked for.

A sentence is one that stands for itself: prose without code, pictures, addresses and headings, which neither begins
with a word that refers to what was said before nor points to something on the page. A word is one of the subject: a
number, a name, or a word that the document uses more often than texts in general do (``spelling.WordList``).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

from llmcli.documents.reading.document import Document
from llmcli.fast_dataclass import frozen
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.check import plain_claim
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.proofread import find_words
from llmcli.tasks.proofread.spelling import WordList, has_word_list, load_word_list
from llmcli.tasks.quiz.card import GAP
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument, Quote
from llmcli.tasks.retrieval.passage_cutter import cut_document
from llmcli.tasks.summarize.sentence_candidates import find_candidates

MIN_WORDS, MAX_WORDS = 8, 32
MAX_CONTEXT_CHARS = 300
MIN_KEYNESS_BITS = 4.0
"""How much more frequent a word of the subject is in the document than elsewhere: 16 times."""
RAREST_FREQUENCY = 3e-8
"""Stands in for that of a word which is in no list."""
_COMMON_FREQUENCY = 1e-5
_MIN_LETTERS = 4
_MIN_COUNT = 2
_MIN_SPELLED_LETTERS = 5
"""Of a word in which one letter may be wrong."""
_MAX_CODE_SPANS = 2
_NUMBER = re.compile(r"(?<![\w.,/-])\d+(?:[.,:]\d+)*%?(?![\w/-]|[.,]\d)")
_REFERS_BACK = re.compile(
    r"(?:this|that|these|those|it|its|they|their|them|he|she|his|her|such|both|either|neither|here|there|another|others?"
    r"|however|therefore|thus|hence|also|moreover|furthermore|otherwise|instead|similarly|likewise|nevertheless|then"
    r"|again|finally|but|and|or|so|yet|as such|for example|for instance|in addition|on the other hand|in other words"
    r"|in this|in that|in these|in those|in such|if so|if not|if it|if this|if that|if they|when it|when this|at this"
    r"|with this|with that|with these|by this|to do this|to do so|as a result|because of this|once this|once it"
    r"|since it|since they|since this|like this|all of (?:this|these|them)|see|note|please|check out|for more|for (?:this|that))\b",
    re.IGNORECASE,
)
_POINTS = re.compile(
    r"\b(?:above|below|following|as follows|mentioned|previous(?:ly)?|aforementioned|this (?:page|section|chapter|document|guide|"
    r"tutorial|readme|example|code|snippet|table|figure|list|file)|these (?:examples|docs)|next section|click here|have a look"
    r"|let'?s|figure \d|table \d|former|latter|respectively|as of (?:this|writing)|here)\b|[a-z]{2}\. [a-z]|\(see |^[^.]{1,40}: [A-Z]|\[\^|\bTODO\b|:\w+:|`_|\u2026|\.\.\.",
    re.IGNORECASE,
)
_IS_PERSONAL = re.compile(r"\b(?:I|I'[a-z]+|me|my)\b")
_ENDING = re.compile(r"[.!][\"'\u201d\u2019\u00bb)*_]{0,3}\Z")
_BRACKETS = (("(", ")"), ("[", "]"), ("\u201c", "\u201d"))
_APOSTROPHE = re.compile("['\u2019]")


@frozen
class SourceSentence:
    """A sentence of a document: ``text`` without markup, the ``quote`` as it is, the text before it, its headings."""

    number: int
    text: str
    quote: Quote
    context: str
    topic: str


@frozen
class Blank:
    """``sentence.text[start:end]`` is asked for. ``is_exact``: a number or a name, which has no synonyms."""

    sentence: SourceSentence
    start: int
    end: int
    is_exact: bool

    @property
    def answer(self) -> str:
        """What belongs into the gap."""
        return self.sentence.text[self.start : self.end]

    @property
    def before(self) -> str:
        """The sentence up to the gap, without the blank before it."""
        return self.sentence.text[: self.start].rstrip()

    @property
    def after(self) -> str:
        """The sentence after the gap."""
        return self.sentence.text[self.end :]

    @property
    def bare_question(self) -> str:
        """The sentence with the gap, without a letter of the answer."""
        return f"{self.sentence.text[: self.start]}{GAP}{self.after}"

    @property
    def question(self) -> str:
        """The sentence with the gap; a word, unlike a number, keeps its first letter (Klein-Braley 1997, C-tests)."""
        cue = self.answer[0] if self.answer[0].isalpha() else ""
        return f"{self.sentence.text[: self.start]}{cue}{GAP}{self.after}"

    def fill(self, word: str) -> str:
        """Return how the sentence goes on after ``before`` with a word in the gap."""
        return f"{self.sentence.text[len(self.before) : self.start]}{word}{self.after}"


class SourceText:
    """The sentences of a document that may be asked about, and its vocabulary."""

    def __init__(self, document: Document, number: int = 0) -> None:
        self._places = QuotableDocument.from_document(document, number)
        self._passages = cut_document(document)
        self._starts = [passage.start for passage in self._passages]
        self.counts = Counter(word.lower() for word in _iter_words(document.text))
        self._total = max(1, sum(self.counts.values()))
        self._words = _load_words(document.text)
        self.sentences = [*self._find_sentences(document.text)]
        self._names = {
            word
            for sentence in self.sentences
            for start, end in find_words(sentence.text, 0, len(sentence.text))
            if _is_name(word := sentence.text[start:end], starts=_begins_clause(sentence.text[:start]))
            and not self._is_shouted(word)
        }
        self._pools: dict[bool, dict[str, frozenset[str]]] = {True: {}, False: {}}
        """All words that may be asked for, numbers and names apart from the others, with their terms."""
        for blank in (each for sentence in self.sentences for each in self.find_blanks(sentence)):
            self._pools[blank.is_exact].setdefault(blank.answer, frozenset(find_terms(blank.answer)))

    def _find_sentences(self, text: str) -> Iterator[SourceSentence]:
        number = 0
        for candidate in find_candidates(text):
            if not candidate.eligible or not MIN_WORDS <= candidate.words <= MAX_WORDS:
                continue
            plain = plain_claim(text[candidate.start : candidate.end]).text
            if not stands_alone(plain) or text[candidate.start : candidate.end].count("`") > 2 * _MAX_CODE_SPANS:
                continue
            passage = self._passage_of(candidate.start)
            before = plain_claim(text[max(passage.start, candidate.start - MAX_CONTEXT_CHARS) : candidate.start]).text
            quote = self._places.quote(candidate.start, candidate.end)
            yield SourceSentence(number, plain, quote, before, _topic(passage))
            number += 1

    def passage(self, sentence: SourceSentence) -> PassageSpan:
        """Return the sentence with the text before it in its passage, from which a model may quote."""
        start = max(self._passage_of(sentence.quote.start).start, sentence.quote.start - MAX_CONTEXT_CHARS)
        return PassageSpan(self._places, start, sentence.quote.end)

    def place(self, offset: int) -> tuple[QuotableDocument, str]:
        """Return the document, and the headings above an offset."""
        return self._places, _topic(self._passage_of(offset))

    def _passage_of(self, offset: int) -> IndexedPassage:
        return self._passages[max(0, bisect_right(self._starts, offset) - 1)]

    # ---- words ------------------------------------------------------------------------------------------------------

    def find_blanks(self, sentence: SourceSentence) -> list[Blank]:
        """Return the words of a sentence that may be asked for, in their order."""
        text, found = sentence.text, []
        spans = {match.span(): True for match in _NUMBER.finditer(text)}
        spans |= dict.fromkeys(find_words(text, 0, len(text)), False)
        terms = Counter(find_terms(text))
        known = set(find_terms(sentence.topic))
        for start, end in sorted(spans):
            word = text[start:end]
            if not start or _is_part(text, start, end) or _APOSTROPHE.search(word) or word not in sentence.quote.text:
                continue
            own = find_terms(word)
            if any(terms[term] > own.count(term) or term in known for term in own):
                continue
            if spans[start, end] or word in self._names:
                found.append(Blank(sentence, start, end, is_exact=True))
            elif len(word) >= _MIN_LETTERS and self._is_term(word):
                found.append(Blank(sentence, start, end, is_exact=False))
        return found

    def _is_term(self, word: str) -> bool:
        count = self.counts[word.lower()]
        return count >= _MIN_COUNT and self.keyness(word) >= MIN_KEYNESS_BITS and not word.endswith("ly")

    def is_of_subject(self, words: str) -> bool:
        """Whether a name or a word that the document uses more often than other texts is among some words."""
        return any(word in self._names or self.keyness(word) >= MIN_KEYNESS_BITS for word in words.split())

    def _is_shouted(self, word: str) -> bool:
        """Whether a common word is written in capitals, as in a licence."""
        return word.isupper() and self._words is not None and self._words.frequency(word.lower()) > _COMMON_FREQUENCY

    def keyness(self, word: str) -> float:
        """Return how many times more frequent a word is here than in texts of its language, in bits."""
        share = max(1, self.counts[word.lower()]) / self._total
        if self._words is None:
            return MIN_KEYNESS_BITS if share < 1 / MAX_WORDS else 0.0
        return math.log2(share / max(self._words.frequency(word.lower()), RAREST_FREQUENCY))

    def same_letter(self, blank: Blank, limit: int) -> list[str]:
        """Return other words of the subject with the first letter of the answer, the most frequent first."""
        own, initial = frozenset(find_terms(blank.answer)), blank.answer[0].lower()
        pool = {
            word.lower()
            for words in self._pools.values()
            for word, terms in words.items()
            if word[0].lower() == initial and not own & terms
        }
        return sorted(pool, key=lambda word: (-self.counts[word], word))[:limit]

    def rivals(self, blank: Blank, limit: int) -> list[str]:
        """Return words of the document that look like the answer and are not in its sentence, the most alike first."""
        known = frozenset(find_terms(f"{blank.sentence.text} {blank.sentence.topic}"))
        shape, frequency = _shape(blank.answer), math.log(self.counts[blank.answer.lower()] + 1)
        pool = self._pools[blank.is_exact]
        alike = [
            word
            for word, terms in pool.items()
            if _shape(word) == shape and not known & terms and not is_nearly_spelled(word.lower(), blank.answer.lower())
        ]
        alike.sort(key=lambda word: abs(math.log(self.counts[word.lower()] + 1) - frequency))
        return alike[:limit]


def is_nearly_spelled(given: str, right: str) -> bool:
    """Whether one letter of a word is wrong, missing, doubled or exchanged with its neighbour (Damerau 1964)."""
    if len(right) < _MIN_SPELLED_LETTERS or abs(len(given) - len(right)) > 1 or any(map(str.isdigit, right)):
        return False
    start = next((at for at, (one, other) in enumerate(zip(given, right, strict=False)) if one != other), None)
    if start is None:
        return True
    rest, expected = given[start:], right[start:]
    swapped = expected[1:2] + expected[:1] + expected[2:]
    return rest == swapped or expected == rest[1:] or rest == expected[1:] or rest[1:] == expected[1:]


def _topic(passage: IndexedPassage) -> str:
    return " > ".join(plain_claim(heading).text for heading in passage.headings)


def stands_alone(sentence: str) -> bool:
    """Whether a sentence can be read without what stands around it."""
    if not (sentence[:1].isupper() or sentence[:1].isdigit()) or not _ENDING.search(sentence):
        return False
    if _REFERS_BACK.match(sentence) or _POINTS.search(sentence) or _IS_PERSONAL.search(sentence):
        return False
    if "[" in sentence or 2 * sum(map(str.isupper, sentence)) > sum(map(str.isalpha, sentence)):
        return False
    return (
        all(sentence.count(left) == sentence.count(right) for left, right in _BRACKETS) and not sentence.count('"') % 2
    )


def _iter_words(text: str) -> Iterator[str]:
    return (text[start:end] for start, end in find_words(text, 0, len(text)))


def _load_words(text: str) -> WordList | None:
    from llmcli.tasks.languages import detect_language

    language = detect_language(text)
    return load_word_list(language.code) if language is not None and has_word_list(language.code) else None


def _begins_clause(before: str) -> bool:
    return not before or before.rstrip().endswith((":", ".", "!", "?"))


def _is_name(word: str, *, starts: bool) -> bool:
    """Whether a word has capitals as names have them."""
    inner = any(map(str.isupper, word[1:]))
    return len(word) > 1 and (inner or (word[0].isupper() and not starts))


def _is_part(text: str, start: int, end: int) -> bool:
    """Whether a word is a part of a compound, of a name with a point or of a path, or stands alone in brackets."""
    before, after = text[start - 1 : start], text[end : end + 2]
    if before in {"(", "["} and after[:1] in {")", "]"}:
        return True
    return bool(_JOINS_BEFORE.match(before) or _JOINS_AFTER.match(after))


_JOINS_BEFORE = re.compile(r"[\w.\-/@\\#$&+=~'\u2019]")
_JOINS_AFTER = re.compile(r"[\w\-/@\\=~+(\u2019']|[.:]\w")


def _shape(word: str) -> tuple[bool, bool, bool, str]:
    """Return what words that can stand for each other have in common: capitals, digits, an ending."""
    ending = next((each for each in ("ing", "ed", "ly", "s") if len(word) > len(each) + 2 and word.endswith(each)), "")
    return word[0].isupper(), word.isupper(), word[0].isdigit(), ending
