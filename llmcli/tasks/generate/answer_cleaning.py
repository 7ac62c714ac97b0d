"""The text of an answer, without headings, remarks about the task, and sentences that were said before.

Small models repeat their instructions in other words, above all those that were not trained to follow any: "In this
section we will discuss ...", "Now explain the costs", "I hope this helps". The patterns are English, as the prompts
are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcli.fast_dataclass import frozen
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.generate.sentence_forms import (
    SentenceSet,
    is_complete,
    is_item,
    join_sentences,
    split_paragraphs,
    split_sentences,
    strip_item,
    trim_dangling,
)
from llmcli.tasks.runner.answers import Answer
from llmcli.types import FinishReason

BULLET = "- "
_MAX_HEADING_WORDS = 12
_MIN_LETTERS_SHARE = 0.6
_MIN_ITEM_WORDS = 8
"""Of an item of a list from which it is a sentence of the paragraph."""
_MIN_TITLE_WORDS = 3
"""Of a title that a model repeats before a sentence."""
_PARTS = r"(?:paragraph|section|text|report|article|chapter|book|slide|bullet|draft|outline|summary|version|essay|explanation)s?"
_REMARK_BEGINNING = re.compile(
    r"(?:sure|certainly|of course|okay|absolutely)\b[!,.:]"
    rf"|(?:here(?:'s|\u2019s| is| are)|below is|the following is)\b[^.]{{0,80}}\b{_PARTS}\b"
    r"|(?:as an ai|i am an ai|i'm an ai|i hope this|let me know|please (?:let|note that i)|feel free to|would you like)\b"
    r"|(?:in )?(?:this|the) (?:section|paragraph|chapter|slide|essay|passage|writer|author)\b"
    r"|(?:in )?this (?:article|report|text|document|book|presentation|blog)\b|the text\b|it (?:talks about|is written)\b"
    r"|(?:in|for) this (?:topic|lesson|unit|module|guide|tutorial|post|assignment)\b"
    r"|(?:paragraph|section|chapter|slide|word count|point|title|heading|facts?|note) ?\d*:|text ?\d+[.:]"
    r"|(?:questions?|answers?|ans)\b[ .]?\d*[.:)]|[qa]:|[qa] ?\d+[.:)]|answer key\b"
    r"|(?:now,? |then,? |please )?(?:explain|describe|discuss|summari[sz]e|write (?:about|an?|the|in|more|\d+)"
    r"|list (?:the|some|\d+)|add something)\b|(?:in a word, )?you should know (?:what|how)\b",
    re.IGNORECASE,
)
"""Sentences that speak to the user, about the text, or as the instructions do, by their beginning."""
_REMARK = re.compile(
    r"\b(?:next|last|first|second|third|final|following|previous|above|this|these|each|another|a|the) (?:\w+ )?paragraphs?\b"
    r"|\bparagraphs?\b.{0,30}\b\d+|\b\d+ words\b|\bthis (?:section|essay|passage)\b"
    r"|\b(?:write|say|use|add|start|begin|end)\b.{0,60}\b(?:paragraph|sentence|section|word|heading|bullet)s?\b"
    r"|\b(?:we|i)(?: will| shall|['\u2019]ll| are going to|['\u2019]re going to| am going to|['\u2019]m going to| would like to)"
    r" (?:now |also |first |then |briefly |try to )*(?:discuss|explain|explore|look|talk|describe|cover|examine|present|introduce"
    r"|write|summari[sz]e|focus|review|outline)\b"
    r"|\blet(?:['\u2019]s| us) (?:now |first |take a (?:closer )?look|look at|discuss|explore|talk about|explain|start with)"
    r"|\b(?:readers?|you) should know about\b|\byour (?:question|request|instructions)\b|\bas (?:you )?(?:asked|requested)\b|\badd something new\b"
    r"|\byou are (?:a helpful|an ai)\b|\bthis is (?:the|a) (?:section|paragraph|outline)\b"
    r"|\[(?:insert|your|name|date|company|author|link|source)\b[^\]]*\]",
    re.IGNORECASE,
)
"""The same anywhere in a sentence."""
_FIRST_PERSON = re.compile(
    r"\bI(?:['\u2019](?:m|ll|d|ve)\b| (?:am|have|hope|think|believe|want|need|know|do|don|guess|mean|would like)\b)"
    r"|\b[Mm]y (?:team|answer|response|opinion|experience|knowledge|name)\b"
)
"""Verbs that Part I and World War I cannot have."""
_TEXT_TERMS = frozenset(find_terms("paragraph section sentence word heading bullet essay"))
_PERSON_TERMS = frozenset(("i", "my", "me", "myself"))
_ENDING = re.compile(r"(?:in (?:conclusion|summary)|to (?:conclude|summarize|sum up)),? +(?=\w)", re.IGNORECASE)
"""Words that end a text, and stand at the end of each section of some models."""
_HEADING_LINE = re.compile(r"[ \t]*(?:#{1,6}[ \t]+\S.*|[-*_=]{3,}|\*\*[^*\n]{1,80}\*\*:?|__[^_\n]{1,80}__:?)[ \t]*")
_ITEM = re.compile(r"[ \t]*(?:[-*+\u2022\u2013]|\d{1,3}[.)])[ \t]+(.*)")
_TAG = re.compile(
    r"</?(?:b|i|u|em|strong|p|br|span|div|h[1-6]|ul|ol|li)(?: [^<>]{0,80})?/?>|<(?:start|end)_of_\w{1,20}>|<unused\d{1,3}>",
    re.IGNORECASE,
)
_DANGLING = (",", ":", ";")
_CUT_NUMBER = re.compile(r"\d[.,]\Z")


@frozen
class CleanedAnswer:
    """The usable ``paragraphs`` of an answer; how many sentences were ``repeated`` ones, and how many ``remarks``."""

    paragraphs: list[str]
    repeated: int = 0
    remarks: int = 0


class AnswerCleaner:
    """Finds the text in answers. ``texts`` are the title and the outline, whose words it may use.

    A text about paragraphs may speak of them, and one about me is in the first person, as a story may be. ``is_list``:
    the text is a list of bullets. ``titles`` are those that a model may repeat before a sentence.
    """

    def __init__(
        self, texts: Iterable[str], titles: Iterable[str] = (), *, is_list: bool = False, is_story: bool = False
    ) -> None:
        terms = {*find_terms("\n".join(texts))}
        self._is_list = is_list
        self._about_texts = bool(_TEXT_TERMS & terms)
        self._in_person = is_story or bool(_PERSON_TERMS & terms)
        repeated = [re.escape(title) for title in titles if len(title.split()) >= _MIN_TITLE_WORDS]
        longest_first = sorted(repeated, key=len, reverse=True)
        self._title = re.compile(rf"(?:{'|'.join(longest_first)})\s+", re.IGNORECASE) if repeated else None

    @staticmethod
    def is_in_person(text: str) -> bool:
        """Whether a text is in the first person."""
        return _FIRST_PERSON.search(text) is not None

    def clean(self, answer: Answer, said: SentenceSet) -> CleanedAnswer:
        """Return the text of an answer without the sentences that ``said`` has; the others are added to it.

        A last sentence that a limit cut is left out.
        """
        is_cut = answer.was_ended or answer.finished.reason is FinishReason.LENGTH
        if self._is_list:
            return self._clean_bullets(answer.text, said, is_cut=is_cut)
        paragraphs: list[str] = []
        repeated = remarks = 0
        for paragraph in split_paragraphs(drop_headings(answer.text)):
            sentences = [self._clean_sentence(each) for each in split_sentences(balance_quotes(paragraph))]
            own = [each for each in sentences if not self._is_remark(each)]
            kept = [each for each in own if said.add(each)]
            remarks += len(sentences) - len(own)
            repeated += len(own) - len(kept)
            is_heading = len(kept) == 1 and not is_complete(kept[0]) and len(kept[0].split()) <= _MAX_HEADING_WORDS
            if kept and not is_heading:
                paragraphs.append(join_sentences(kept))
        if paragraphs:
            *whole, last = split_sentences(paragraphs[-1])
            if last.endswith(_DANGLING) or (is_cut and (not is_complete(last) or _CUT_NUMBER.search(last))):
                paragraphs[-1:] = [join_sentences(whole)] if whole else []
        return CleanedAnswer(paragraphs, repeated, remarks)

    def _clean_sentence(self, sentence: str) -> str:
        """Return a sentence without the mark of a list, if it is long, a title before it, and words that end a text."""
        item = _ITEM.fullmatch(sentence)
        words = item[1] if item and is_complete(sentence) and len(sentence.split()) > _MIN_ITEM_WORDS else sentence
        words = " ".join(words.split())  # lines of a paragraph are none of the text
        if is_item(words):
            words = f"{BULLET}{strip_item(words)}"  # others may be left out, and numbers would have gaps
        title = self._title.match(words) if self._title is not None else None
        if title and words[title.end() : title.end() + 1].isupper():
            words = words[title.end() :]
        ending = _ENDING.match(words)
        return words[ending.end()].upper() + words[ending.end() + 1 :] if ending else words

    def _is_remark(self, sentence: str) -> bool:
        """Whether a sentence is none of the text: it speaks about it or about the task, or has hardly a letter."""
        plain = strip_item(sentence).lstrip("*_\"'> ")
        letters, others = sum(map(str.isalnum, plain)), sum(not char.isspace() for char in plain)
        return (
            letters < _MIN_LETTERS_SHARE * others
            or _REMARK_BEGINNING.match(plain) is not None
            or (not self._about_texts and _REMARK.search(plain) is not None)
            or (not self._in_person and _FIRST_PERSON.search(plain) is not None)
        )

    def _clean_bullets(self, text: str, said: SentenceSet, *, is_cut: bool) -> CleanedAnswer:
        """Return the bullets of an answer, each as a paragraph: its items, or its sentences if it is no list."""
        lines = [line for line in drop_headings(text).splitlines() if line.strip()]
        items = [match[1].strip() for match in map(_ITEM.fullmatch, lines) if match]
        if not items:
            items = [sentence for line in lines for sentence in split_sentences(line)]
        if is_cut and items and not text.endswith("\n") and not is_complete(items[-1]):
            del items[-1]
        items = [item if is_complete(item) else trim_dangling(item) for item in items]
        own = [item for item in items if any(map(str.isalnum, item)) and not self._is_remark(item)]
        new = [item for item in own if said.add(item)]
        return CleanedAnswer([f"{BULLET}{item}" for item in new], len(own) - len(new), len(items) - len(own))


def balance_quotes(paragraph: str) -> str:
    """Return a paragraph without quotation marks around all of it, and without one that has no other."""
    for opening, closing in (('"', '"'), ("\u201c", "\u201d")):
        inner = paragraph[1:-1]
        if paragraph.startswith(opening) and paragraph.endswith(closing) and not {opening, closing} & {*inner}:
            return inner
        if opening == closing:
            lone = paragraph.count(opening) % 2
            opens, closes = lone and not paragraph.endswith(closing), lone
        else:
            opens = paragraph.count(opening) > paragraph.count(closing)
            closes = paragraph.count(opening) < paragraph.count(closing)
        if opens:
            paragraph = paragraph.replace(opening, "", 1)
        elif closes:
            paragraph = paragraph.removesuffix(closing)
    return paragraph


def drop_headings(text: str) -> str:
    """Return a text without lines that are headings or rules, and without a fence around it."""
    lines = [line for line in _TAG.sub("", text).splitlines() if not line.lstrip().startswith(("```", "~~~"))]
    return "\n".join("" if _HEADING_LINE.fullmatch(line) else line for line in lines)
