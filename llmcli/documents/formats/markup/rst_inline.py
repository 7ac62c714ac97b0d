r"""The inline level of reStructuredText: what is protected in a paragraph, and how its translation is written.

The words of a link, a role or an emphasis stand between two protected texts; everything else with markup is protected as a
whole. A translator reads "<em>" and "<strong>" for the asterisks, and "<a>" before the words of a link, since a sign alone
could be one of a translation's own. "`a phrase`_", whose words are the name of a target, becomes "`a phrase <a phrase_>`__" when it is translated. Source:
"reStructuredText Markup Specification", Inline Markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Span, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace
from llmcli.fast_dataclass import field, frozen, slotted

_START = r"(?<![^\s'\"(\[{<\-/:\u2010-\u2014\u2018\u201c\u2019\u00ab\u00a1\u00bf])"
_END = r"(?![^\s'\")\]}>\-/:.,;!?\\\u2010-\u2014\u2019\u201d\u00bb\u2026\u3001\u3002])"
_ROLE = r":[A-Za-z][\w:.+-]{0,60}:"
_BODY = r"(?!\s)(?:[^`\\]|\\.)++(?<!\s)"
_MARKUP = re.compile(
    rf"(?P<escape>\\.)"
    rf"|(?P<literal>{_START}``+(?![\s`])(?:[^`]|`(?!`)|`(?=``))++``{_END})"
    rf"|(?P<inline_target>{_START}_`{_BODY}`{_END})"
    rf"|(?P<interpreted>{_START}(?P<role>{_ROLE})?`(?P<body>{_BODY})`(?P<suffix>__?|{_ROLE})?{_END})"
    rf"|(?P<substitution>{_START}\|(?!\s)[^|\n]{{1,100}}+(?<!\s)\|(?:__?)?{_END})"
    rf"|(?P<footnote>{_START}\[(?:\d{{1,9}}|#[\w.-]{{0,100}}|\*|[A-Za-z][\w.-]{{0,100}})\]_{_END})"
    rf"|(?P<reference>(?<![\w.:+-])[A-Za-z0-9]++(?:[-_.:+](?=[A-Za-z0-9])[A-Za-z0-9]++)*+__?(?!\w){_END})"
    rf"|(?P<strong>{_START}\*\*(?![\s*])(?P<bold>(?:[^*\\]|\\.|\*(?!\*))++)(?<!\s)\*\*{_END})"
    rf"|(?P<emphasis>{_START}\*(?![\s*])(?P<italic>(?:[^*\\]|\\.|(?<=\s)\*)++)(?<!\s)\*{_END})",
    re.DOTALL,
)
_TITLED = re.compile(r"(?P<words>.*?\S)(?P<target>\s+<(?P<inner>[^<>]+)>)\Z", re.DOTALL)
_TITLED_ROLES = frozenset({"ref", "doc", "term", "any", "numref", "download", "external"})
"""Roles of Sphinx whose words may differ from their target."""
_TEXT_ROLES = frozenset({"emphasis", "strong", "title", "sub", "sup", "subscript", "superscript", "title-reference"})
_KINDS = PLAIN_TEXT_KINDS - {"code", "tag", "entities"}
_SYNTAX = re.compile(r"[\\`*|]|_(?!\w)")
_OPENERS = frozenset("'\"([{<-/:")
_CLOSERS = frozenset("'\")]}>-/\\:.,;!?")


@frozen
class _Part:
    """A part of a paragraph: what a translator reads, the kind of protection or "", and what the document has there."""

    text: str
    kind: str = ""
    markup: str = ""

    @property
    def written(self) -> str:
        return self.markup or self.text


@slotted
class RstText:
    """The translator's view of a paragraph, with its protected texts and what the document has in their place."""

    text: str = ""
    spans: list[Span] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def add(self, text: str, kind: str, written: str) -> None:
        """Add a protected text."""
        self.spans.append(Span(len(self.text), len(self.text) + len(text), kind))
        self.written.append(written)
        self.text += text

    def add_words(self, words: str) -> None:
        """Add words, and protect the addresses and placeholders in them."""
        at = 0
        for span in find_spans(words, _KINDS):
            self.text += words[at : span.start]
            self.add(words[span.start : span.end], span.kind, words[span.start : span.end])
            at = span.end
        self.text += words[at:]


def scan_rst_inline(source: str) -> RstText:
    """Read the source of a paragraph, its lines joined by blanks."""
    found, at, words = RstText(), 0, ""
    for match in _MARKUP.finditer(source):
        words += source[at : match.start()]
        for part in _markup_parts(match):
            if part.kind:
                found.add_words(words)
                found.add(part.text, part.kind, part.written)
                words = ""
            else:
                words += part.text
        at = match.end()
    found.add_words(words + source[at:])
    return found


def _markup_parts(match: re.Match[str]) -> list[_Part]:
    """Return the parts of a construct."""
    whole = match[0]
    if match["interpreted"]:
        return _interpreted_parts(match)
    if match["strong"]:
        return [_Part("<strong>", "tag", "**"), _Part(match["bold"]), _Part("</strong>", "tag", "**")]
    if match["emphasis"]:
        return [_Part("<em>", "tag", "*"), _Part(match["italic"]), _Part("</em>", "tag", "*")]
    if match["escape"]:
        return [_Part(whole, "entity")]
    if match["literal"] or match["inline_target"]:
        return [_Part(whole, "code")]
    return [_Part(whole, "placeholder" if match["substitution"] else "reference")]


def _interpreted_parts(match: re.Match[str]) -> list[_Part]:
    body, role, suffix = match["body"], match["role"] or "", match["suffix"] or ""
    name = (role or suffix).strip(":").rpartition(":")[2]
    titled = _TITLED.match(body)
    opening, closing = _Part(f"{role}`" if role else "<a>", "link", f"{role}`"), f"`{suffix}"
    words = _Part(titled["words"] if titled else body)
    if suffix.startswith("_") and not role and not body.startswith("<"):
        if titled:
            return [opening, words, _Part(titled["target"] + closing, "target")]
        if suffix == "_":
            return [opening, words, _Part(f" <{body}_>`__", "target")]
        return [opening, words, _Part(closing, "target")]
    if name in _TITLED_ROLES and titled:
        return [opening, words, _Part(titled["target"] + closing, "target")]
    if name in _TEXT_ROLES:
        return [opening, words, _Part(closing if suffix else "</a>", "target", closing)]
    return [_Part(match[0], "code")]


def write_rst_inline(translation: str, read: RstText) -> list[tuple[str, bool]]:
    """Return the translation of ``read`` in one line as parts to write, protected (True) or not.

    Words get no markup, and markup is set off from the words beside it by an escaped blank, where it has to be.
    """
    wanted = protected_texts(read.text, read.spans)
    known: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for text, span, written in zip(wanted, read.spans, read.written, strict=True):
        known[text].append((written, span.kind))
    done: list[tuple[str, bool]] = []
    before, must_end, opened = "", False, False
    for text, kept in split_at_protected(translation.strip(), wanted):
        written, kind = known[text].pop(0) if kept else (_escape_words(text), "")
        begins = kind == "link" or (kind == "tag" and not text.startswith("</"))
        ends = kind == "target" or (kind == "tag" and not begins)
        if opened:  # no blank may follow what begins markup
            written = written.lstrip()
        if not written:
            continue
        if ends and done and not done[-1][1]:  # nor precede what ends it
            done[-1] = (done[-1][0].rstrip(), False)
        is_whole = kind in {"code", "placeholder", "reference"}
        if (must_end and not _may_follow(written[0])) or ((begins or is_whole) and before and not _may_precede(before)):
            done.append(("\\ ", True))
        done.append((written, kept))
        before, must_end, opened = written[-1], ends or is_whole, begins
    return done


def _escape_words(words: str) -> str:
    return _SYNTAX.sub(r"\\\g<0>", collapse_whitespace(clean_translation(words)))


def _may_precede(character: str) -> bool:
    return (
        character.isspace()
        or character in _OPENERS
        or (character > "\x7f" and unicodedata.category(character) in {"Ps", "Pi", "Pf", "Pd", "Po"})
    )


def _may_follow(character: str) -> bool:
    return (
        character.isspace()
        or character in _CLOSERS
        or (character > "\x7f" and unicodedata.category(character) in {"Pe", "Pi", "Pf", "Pd", "Po"})
    )
