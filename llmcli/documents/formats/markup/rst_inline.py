r"""The inline level of reStructuredText: what is protected in a paragraph, and how its translation is written.

The words of a link, a role or an emphasis stand between two protected texts; everything else with markup is protected
as a whole. A translator reads "<em>" and "<strong>" for the asterisks, and "<a>" before the words of a link, since a
sign alone could be one of a translation's own. "`a phrase`_", whose words are the name of a target, becomes "`a phrase
<a phrase_>`__" when it is translated. Source: "reStructuredText Markup Specification", Inline Markup.
"""

from __future__ import annotations

import re
import unicodedata

from llmcli.documents.formats.markup.markup_text import MarkupPart, MarkupText, join_parts
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace

_MAX_EMPHASIS_CHARS = 1000
"""Characters of emphasized words: without an end for it, a delimiter would be searched for in the whole paragraph."""
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
    rf"|(?P<strong>{_START}\*\*(?![\s*])(?P<bold>(?:[^*\\]|\\.|\*(?!\*)){{1,{_MAX_EMPHASIS_CHARS}}}+)(?<!\s)\*\*{_END})"
    rf"|(?P<emphasis>{_START}\*(?![\s*])(?P<italic>(?:[^*\\]|\\.|(?<=\s)\*){{1,{_MAX_EMPHASIS_CHARS}}}+)(?<!\s)\*{_END})",
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


def scan_rst_inline(source: str) -> MarkupText:
    """Read the source of a paragraph, its lines joined by blanks."""
    parts: list[MarkupPart] = []
    at = 0
    for match in _MARKUP.finditer(source):
        parts += [MarkupPart(source[at : match.start()]), *_markup_parts(match)]
        at = match.end()
    return join_parts([*parts, MarkupPart(source[at:])], _KINDS)


def _markup_parts(match: re.Match[str]) -> list[MarkupPart]:
    """Return the parts of a construct."""
    whole = match[0]
    if match["interpreted"]:
        return _interpreted_parts(match)
    if match["strong"]:
        return [MarkupPart("<strong>", "tag", "**"), MarkupPart(match["bold"]), MarkupPart("</strong>", "tag", "**")]
    if match["emphasis"]:
        return [MarkupPart("<em>", "tag", "*"), MarkupPart(match["italic"]), MarkupPart("</em>", "tag", "*")]
    if match["escape"]:
        return [MarkupPart(whole, "entity")]
    if match["literal"] or match["inline_target"]:
        return [MarkupPart(whole, "code")]
    return [MarkupPart(whole, "placeholder" if match["substitution"] else "reference")]


def _interpreted_parts(match: re.Match[str]) -> list[MarkupPart]:
    body, role, suffix = match["body"], match["role"] or "", match["suffix"] or ""
    name = (role or suffix).strip(":").rpartition(":")[2]
    titled = _TITLED.match(body)
    opening, closing = MarkupPart(f"{role}`" if role else "<a>", "link", f"{role}`"), f"`{suffix}"
    words = MarkupPart(titled["words"] if titled else body)
    if suffix.startswith("_") and not role and not body.startswith("<"):
        if titled:
            return [opening, words, MarkupPart(titled["target"] + closing, "target")]
        if suffix == "_":
            return [opening, words, MarkupPart(f" <{body}_>`__", "target")]
        return [opening, words, MarkupPart(closing, "target")]
    if name in _TITLED_ROLES and titled:
        return [opening, words, MarkupPart(titled["target"] + closing, "target")]
    if name in _TEXT_ROLES:
        return [opening, words, MarkupPart(closing if suffix else "</a>", "target", closing)]
    return [MarkupPart(match[0], "code")]


def write_rst_inline(translation: str, read: MarkupText) -> list[tuple[str, bool]]:
    """Return the translation of ``read`` in one line as parts to write, protected (True) or not.

    Words get no markup, and markup is set off from the words beside it by an escaped blank, where it has to be.
    """
    done: list[tuple[str, bool]] = []
    before, must_end, opened = "", False, False
    for part in read.split_translation(translation):
        kind, kept = part.kind, bool(part.kind)
        written = part.written if kept else _escape_words(part.text)
        begins = kind == "link" or (kind == "tag" and not part.text.startswith("</"))
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
