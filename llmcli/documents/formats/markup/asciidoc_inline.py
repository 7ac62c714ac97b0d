r"""The inline level of AsciiDoc: what is protected in a paragraph, and how its translation is written.

The words of a link, a footnote or an emphasis stand between two protected texts; code, passthroughs, references to
attributes and all other macros are protected as a whole. A translator reads "<em>" and "<strong>" for "_" and "*". A
sign of a translation's own that would be markup is written as a character reference. Source: "AsciiDoc Language
Documentation" and the patterns of Asciidoctor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from llmcli.documents.formats.markup.markup_text import MarkupPart, MarkupText, join_parts
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace

_KINDS = PLAIN_TEXT_KINDS - {"code"}
_MAX_NESTING = 5
"""Depth of markup inside of markup that is read."""
_SPECIAL = re.compile(
    r"[*_`#+{<\[($\\]|\^(?=\S)|~(?=\S)|[\"'](?=`)| \+\n"
    r"|(?<![A-Za-z0-9])(?:https?|ftps?|irc|file)://(?=[^\s\[\]<>])|(?<![\w:])[A-Za-z][\w-]{0,60}+:(?=[^\s:])"
)
_TAGS = {"*": "strong", "_": "em", "#": "mark", '"`': "q", "'`": "sq", "``": "q"}
_MONOSPACE = frozenset("`+")
_BEFORE_CONSTRAINED = re.compile(r"[\w;:}]")
_BEFORE_CODE = re.compile(r"[\w;:}\"'`]")
_AFTER_CODE = re.compile(r"[\w\"'`]")
_WORD = re.compile(r"\w")
_ATTRIBUTE = re.compile(r"\{(?:\w[\w-]{0,100}|(?:set|counter2?):[^{}\n]{1,200})\}")
_SCRIPT = re.compile(r"\^[^\s^]{1,100}\^|~[^\s~]{1,100}~")
_REFERENCE = re.compile(r"<<(?P<id>[^<>,\s][^<>,\n]{0,300})(?P<comma>,\s*)?(?P<words>[^<>]{0,1000})>>")
_AUTOLINK = re.compile(r"<(?:https?|ftps?|irc|mailto):[^\s<>]{1,1000}>")
_ANCHOR = re.compile(r"\[\[\[?[^\[\]\n]{1,300}\]\]\]?")
_ROLE = re.compile(r"\[[^\[\]\s,][^\[\]\n]{0,200}\](?=[*_`#^~+])")
_TERM = re.compile(r"\(\((?:\([^()\n]{1,300}\)\)\)|(?P<words>[^()\n]{1,300})\)\)(?!\)))")
_DOLLARS = re.compile(r"\$\$[^$\n]{1,500}\$\$")
_OLD_QUOTES = re.compile(r"``(?P<words>[^`'\n\s][^`'\n]{0,300})''")
_MACRO = re.compile(r"(?P<name>[A-Za-z][\w-]{0,60}+):(?P<target>[^\s:\[\]][^\s\[\]]{0,1000}+)?\[")
_URL = re.compile(r"[a-z]++://[^\s\[\]<>]{1,2000}+")
_URL_END = re.compile(r"[.,;:!?)'\"*_`]+\Z")
_LINK_MACROS = frozenset({"link", "xref", "mailto", "http", "https", "ftp", "ftps", "irc", "file"})
_FOOTNOTES = frozenset({"footnote", "footnoteref"})
_QUOTED_WORDS = re.compile(r"\"(?P<words>(?:[^\"\\]|\\.)*)\"")
_BRACKETS = re.compile(r"\\\]|[\[\]]")
_ZERO_WIDTH_SPACE = "\u200b"
_SPACE_BEFORE_URL = "&#8203;"
"""The same as a reference: a semicolon may stand before an address, the space may not."""
_OPENING_MARK = re.compile(r"(?:\[[^\]]*\])?(?P<sign>\*(?!\*)|_(?!_)|#(?!#)|`(?!`)|\+(?!\+)|[\"'](?=`))")
"""A mark that counts only between certain characters."""
_SYNTAX = re.compile(r"[\\*_`#^~+{}\[\]<>|()$&]")
_MACRO_SYNTAX = re.compile(r"[\\*_`#^~+{}\[\]<>|()$&=,\"]")
_LINE_SYNTAX = re.compile(r"(?:::|;;)(?=[ \t\n])| \+(?=\n)")
"""Signs that mean something at the end of a line or a term."""


def scan_asciidoc_inline(source: str) -> MarkupText:
    """Read the source of a paragraph."""
    return join_parts(_Scanner(source, 0).read(), _KINDS)


class _Scanner:
    """A pass over a text from left to right; ``depth`` is the number of constructs around it."""

    def __init__(self, source: str, depth: int) -> None:
        self._source = source
        self._depth = depth
        self._closers: dict[str, tuple[int, int]] = {}  # by the closer: where it was looked for, and where it is
        self._closing_brackets: dict[int, int] | None = None

    def read(self) -> list[MarkupPart]:
        """Return the parts."""
        parts: list[MarkupPart] = []
        at = 0
        while match := _SPECIAL.search(self._source, at):
            parts.append(MarkupPart(self._source[at : match.start()]))
            found = self._read_escaped(match.start()) if match[0] == "\\" else self._read_construct(match.start())
            if found is None:  # a scheme, or the name of no macro, is passed over as a whole
                end = match.end() if match[0].endswith(":") else match.start() + 1
                found = end, [MarkupPart(self._source[match.start() : end])]
            parts += found[1]
            at = found[0]
        return [*parts, MarkupPart(self._source[at:])]

    def _read_escaped(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        """Read a construct after a backslash: all of it is literal text with signs of markup."""
        first = at + 2 if self._source.startswith("\\\\", at) else at + 1
        if self._source.startswith("|", first):
            return first + 1, [MarkupPart(self._source[at : first + 1], "entity")]
        found = self._read_construct(first) if first < len(self._source) else None
        return None if found is None else (found[0], [MarkupPart(self._source[at : found[0]], "code")])

    def _read_construct(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        """Return the end and the parts of the construct that begins at an offset, None if there is none."""
        source, sign = self._source, self._source[at]
        if sign in "*_#`+\"'":
            found = self._read_old_quotes(at) or self._read_marks(at, at)
        elif sign == " ":
            found = (at + 3, [MarkupPart(" +\n", "break")]) if source.startswith(" +\n", at) else None
        elif sign == "[":
            role = _ROLE.match(source, at)
            found = self._protect(_ANCHOR.match(source, at), at)
            if role and not found:
                found = self._read_marks(at, role.end()) or self._protect(_SCRIPT.match(source, role.end()), at)
        elif sign == "<":
            found = self._read_reference(at) or self._protect(_AUTOLINK.match(source, at), at, "url")
        elif sign == "(":
            found = self._read_term(at)
        elif sign.isalpha():
            found = self._read_macro(at) or self._read_url(at)
        elif sign == "{":
            found = self._protect(_ATTRIBUTE.match(source, at), at, "placeholder")
        else:
            found = self._protect((_DOLLARS if sign == "$" else _SCRIPT).match(source, at), at)
        return found

    @staticmethod
    def _protect(match: re.Match[str] | None, start: int, kind: str = "code") -> tuple[int, list[MarkupPart]] | None:
        """Protect everything from an offset to the end of a match."""
        if match is None:
            return None
        return match.end(), [MarkupPart(match.string[start : match.end()], kind)]

    def _inner(self, start: int, end: int) -> list[MarkupPart]:
        """Read the content of a construct."""
        content = self._source[start:end]
        return _Scanner(content, self._depth + 1).read() if self._depth < _MAX_NESTING else [MarkupPart(content)]

    # ---- formatting marks -------------------------------------------------------------------------------------------

    def _read_old_quotes(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        """Read words between pairs of backticks and of apostrophes, as in documents for AsciiDoc.py."""
        found = _OLD_QUOTES.match(self._source, at)
        if found is None:
            return None
        inner = self._inner(*found.span("words"))
        return found.end(), [MarkupPart("<q>", "tag", "``"), *inner, MarkupPart("</q>", "tag", "''")]

    def _read_marks(self, start: int, at: int) -> tuple[int, list[MarkupPart]] | None:
        """Read formatted words that begin at ``start`` with roles, or at ``at`` without."""
        for mark in self._marks_at(at):
            first = at + len(mark)
            end = self._find_closer(mark, first)
            if end is None or end == first or (len(mark) == 1 and not self._may_open(start, first, mark)):
                continue
            behind = end + len(mark)
            if mark[0] in _MONOSPACE:
                return behind, [MarkupPart(self._source[start:behind], "code")]
            inner = self._inner(first, end)
            closer = mark[::-1]
            if start < at:
                opening = self._source[start:first]
                return behind, [MarkupPart(opening, "link"), *inner, MarkupPart("</a>", "target", closer)]
            name = _TAGS.get(mark) or _TAGS[mark[0]]
            return behind, [MarkupPart(f"<{name}>", "tag", mark), *inner, MarkupPart(f"</{name}>", "tag", closer)]
        return None

    def _marks_at(self, at: int) -> Iterable[str]:
        """Return the marks that may begin at an offset, longer ones first."""
        sign = self._source[at]
        if sign in "\"'":
            return (sign + "`",)
        most = 3 if sign == "+" else 2
        return (sign * length for length in range(most, 0, -1) if self._source.startswith(sign * length, at))

    def _may_open(self, start: int, first: int, mark: str) -> bool:
        before = self._source[start - 1 : start]
        refused = _BEFORE_CODE if mark == "`" else _BEFORE_CONSTRAINED
        is_reference = mark == "#" and before == "&"
        return not is_reference and not refused.match(before) and not self._source[first : first + 1].isspace()

    def _find_closer(self, mark: str, at: int) -> int | None:
        """Return where the mark that ends formatted words begins, at ``at`` or later; None if there is none."""
        known = self._closers.get(mark)
        if known is None or not known[0] <= at <= known[1]:
            known = (at, self._search_closer(mark, at))
            self._closers[mark] = known
        return known[1] if known[1] < len(self._source) else None

    def _search_closer(self, mark: str, at: int) -> int:
        closer = mark[::-1]
        found = self._source.find(closer, at)
        while found >= 0:
            behind = self._source[found + len(closer) : found + len(closer) + 1]
            if len(mark) > 1 and mark[0] not in "\"'":
                return found
            refused = _AFTER_CODE if mark == "`" else _WORD
            if found > at and not self._source[found - 1].isspace() and not refused.match(behind):
                return found
            found = self._source.find(closer, found + 1)
        return len(self._source)

    # ---- references and macros --------------------------------------------------------------------------------------

    def _read_reference(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        found = _REFERENCE.match(self._source, at)
        if found is None or not found["comma"] or not found["words"].strip():
            return self._protect(found, at)
        opening = MarkupPart(self._source[at : found.start("words")], "link")
        return found.end(), [opening, *self._inner(*found.span("words")), MarkupPart("</a>", "target", ">>")]

    def _read_term(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        """Read a term of the index: one in two pairs of parentheses is shown."""
        found = _TERM.match(self._source, at)
        if found is None or found["words"] is None:
            return self._protect(found, at)
        inner = self._inner(*found.span("words"))
        return found.end(), [MarkupPart("<term>", "tag", "(("), *inner, MarkupPart("</term>", "tag", "))")]

    def _read_url(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        found = _URL.match(self._source, at)
        if found is None:
            return None
        url = _URL_END.sub("", found[0])
        return at + len(url), [MarkupPart(url, "url")]

    def _read_macro(self, at: int) -> tuple[int, list[MarkupPart]] | None:
        found = _MACRO.match(self._source, at)
        if found is None:
            return None
        name, first = found["name"], found.end()
        end = self._bracket_end(first) if name in _FOOTNOTES else self._content_end(first)
        if end is None:
            return None
        words = None
        if name in _FOOTNOTES:
            words = _footnote_words(name, self._source[first:end])
        elif name in _LINK_MACROS or name == "image":
            words = macro_words(self._source[first:end], is_image=name == "image")
        if words is None:
            return end + 1, [MarkupPart(self._source[at : end + 1], "code")]
        start, stop = first + words[0], first + words[1]
        inner = [MarkupPart(self._source[start:stop])] if name == "image" else self._inner(start, stop)
        closing = MarkupPart(f"</a>{self._source[stop:end]}", "target", self._source[stop : end + 1])
        return end + 1, [MarkupPart(self._source[at:start], "link"), *inner, closing]

    def _content_end(self, at: int) -> int | None:
        """Return where the first bracket is that closes a macro's content."""
        known = self._closers.get("]")
        if known is None or not known[0] <= at <= known[1]:
            found = re.compile(r"(?<!\\)\]").search(self._source, at)
            known = (at, found.start() if found else len(self._source))
            self._closers["]"] = known
        return known[1] if known[1] < len(self._source) else None

    def _bracket_end(self, at: int) -> int | None:
        """Return where the bracket is that closes the one before ``at``, other pairs between them."""
        if self._closing_brackets is None:
            self._closing_brackets, opened = {}, list[int]()
            for match in _BRACKETS.finditer(self._source):
                if match[0] == "[":
                    opened.append(match.start())
                elif match[0] == "]" and opened:
                    self._closing_brackets[opened.pop()] = match.start()
        return self._closing_brackets.get(at - 1)


def _footnote_words(name: str, content: str) -> tuple[int, int] | None:
    """Return where the words of a footnote are; in the old form, they come after its name and a comma."""
    start = content.find(",") + 1 if name == "footnoteref" else 0
    if name == "footnoteref" and not start:
        return None
    start += len(content[start:]) - len(content[start:].lstrip())
    return (start, len(content)) if content[start:].strip() else None


def macro_words(content: str, *, is_image: bool) -> tuple[int, int] | None:
    """Return where the words are in the brackets of a link or an image, None if there are none.

    A comma ends those of an image, and those of a link that has attributes.
    """
    quoted = _QUOTED_WORDS.match(content)
    if quoted:
        start, end = quoted.span("words")
    elif is_image or "=" in content or content.endswith("^"):
        start, end = 0, len(content.split(",", 1)[0].rstrip("^"))
        if "=" in content[:end]:
            return None
    else:
        start, end = 0, len(content)
    words = content[start:end]
    start, end = start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip())
    return (start, end) if any(map(str.isalpha, content[start:end])) else None


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_asciidoc_inline(translation: str, read: MarkupText, *, lines: bool, bars: str = "") -> list[tuple[str, bool]]:
    """Return the translation of ``read`` as parts to write, protected (True) or not.

    ``lines``: its line ends stay. ``bars``: the signs that end a cell around it. Signs are escaped only if they would
    be markup.
    """
    parts = _move_blanks([_clean(part, lines=lines) for part in read.split_translation(translation)])
    done = _set_off(_escape_words(parts, heavily=False, bars=bars))
    again = join_parts(_Scanner("".join(part.written for part in done), 0).read(), {"entities"})
    left = iter(part.text for part in done if part.kind)
    is_same = all(again.text[span.start : span.end] in left for span in again.spans)
    if not is_same or again.text != "".join(part.text for part in done):
        done = _set_off(_escape_words(parts, heavily=True, bars=bars))
    return [(part.written, bool(part.kind)) for part in done]


def _clean(part: MarkupPart, *, lines: bool) -> MarkupPart:
    if part.kind:
        return part
    text = clean_translation(part.text)
    if not lines:
        return MarkupPart(collapse_whitespace(text))
    return MarkupPart("\n".join(collapse_whitespace(line) for line in re.split(r"[ \t]*\n\s*", text)))


def _is_opening(part: MarkupPart) -> bool:
    return part.kind == "link" or (part.kind == "tag" and part.written != part.text and not part.text.startswith("</"))


def _is_closing(part: MarkupPart) -> bool:
    return part.kind == "target" or (part.kind == "tag" and part.written != part.text and part.text.startswith("</"))


def _move_blanks(parts: Sequence[MarkupPart]) -> list[MarkupPart]:
    """Return parts without blanks behind what begins markup, and before what ends it."""
    done: list[MarkupPart] = []
    for index, part in enumerate(parts):
        text = part.text
        if not part.kind:
            text = text.lstrip() if done and _is_opening(done[-1]) else text
            text = text.rstrip() if index + 1 < len(parts) and _is_closing(parts[index + 1]) else text
        if text:
            done.append(part if part.kind else MarkupPart(text))
        if _is_opening(part) and index + 1 < len(parts) and _is_closing(parts[index + 1]):
            done.append(MarkupPart(_ZERO_WIDTH_SPACE))  # marks with nothing between them would be no marks
    return done


def _escape_words(parts: Sequence[MarkupPart], *, heavily: bool, bars: str) -> list[MarkupPart]:
    """Return the parts with the words as they are written."""
    done: list[MarkupPart] = []
    opened: list[str] = []
    for index, part in enumerate(parts):
        if part.kind:
            if _is_opening(part):
                opened.append(part.written)
            elif _is_closing(part) and opened:
                opened.pop()
            done.append(part)
            continue
        written = part.text
        if heavily:
            in_macro = any(opening.endswith(("[", '"')) for opening in opened)
            written = (_MACRO_SYNTAX if in_macro else _SYNTAX).sub(lambda match: _refer(match[0]), written)
        following = parts[index + 1].written[:1] if index + 1 < len(parts) else " "
        written = _LINE_SYNTAX.sub(_refer_to_last, written + following)[: -len(following) or None]
        for bar in bars:
            written = written.replace(bar, _refer(bar))
        done.append(MarkupPart(part.text, "", written))
    return done


def _refer(sign: str) -> str:
    """Return the reference to a character."""
    return f"&#{ord(sign)};"


def _refer_to_last(match: re.Match[str]) -> str:
    return match[0][:-1] + _refer(match[0][-1])


def _set_off(parts: Sequence[MarkupPart]) -> list[MarkupPart]:
    """Return parts in which no words beside a mark undo it: it is doubled, or stands beside a space of no width."""
    closings = _find_closings(parts)
    written = [part.written for part in parts]
    gaps_before, gaps_behind = set[int](), set[int]()
    for first, part in enumerate(parts):
        if not part.kind or _is_closing(part):
            continue
        last = closings.get(first, first)
        before = written[first - 1][-1:] if first else ""
        behind = written[last + 1][:1] if last + 1 < len(parts) else ""
        opens, closes = _is_mark_between(part, before, behind)
        if part.kind == "tag" and len(part.written) == 1 and not (opens and closes):
            written[first], written[last] = part.written * 2, parts[last].written * 2
        else:
            gaps_before |= set() if opens else {first}
            gaps_behind |= set() if closes else {last}
    done: list[MarkupPart] = []
    for index, part in enumerate(parts):
        if index in gaps_before:
            is_address = _URL.match(written[index])
            done.append(MarkupPart(_SPACE_BEFORE_URL, "entity") if is_address else MarkupPart(_ZERO_WIDTH_SPACE))
        done.append(MarkupPart(part.text, part.kind, written[index]))
        done += [MarkupPart(_ZERO_WIDTH_SPACE)] if index in gaps_behind else []
    return done


def _find_closings(parts: Sequence[MarkupPart]) -> dict[int, int]:
    """Return where the markup ends that begins with a part."""
    closings: dict[int, int] = {}
    opened: list[int] = []
    for index, part in enumerate(parts):
        if _is_opening(part):
            opened.append(index)
        elif _is_closing(part) and opened:
            closings[opened.pop()] = index
    return closings


def _is_mark_between(part: MarkupPart, before: str, behind: str) -> tuple[bool, bool]:
    """Whether markup begins with a part after the character ``before``, and ends before the character ``behind``."""
    mark = _OPENING_MARK.match(part.written)
    if mark is None:
        is_name = part.kind in {"link", "code", "url"} and part.written[:1].isalpha()
        return not (is_name and _WORD.match(before)), True
    opens = not (_BEFORE_CODE if mark["sign"] == "`" else _BEFORE_CONSTRAINED).match(before)
    return opens, not (_AFTER_CODE if mark["sign"] in _MONOSPACE else _WORD).match(behind)
