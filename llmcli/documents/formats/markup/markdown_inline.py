r"""The inline level of Markdown: what is protected in a paragraph, and how its translation is escaped.

A translator reads Markdown: emphasis as it is written, a link's words between two protected texts (``[`` and
``](address)``), and other characters without their escapes. Kept as they are written: ``\*``, ``\_``, ``\~``, ``\\``.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Callable, Collection
from itertools import groupby

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans, is_control
from llmcli.documents.segments import Span, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace
from llmcli.fast_dataclass import field, slotted

_SPECIAL = re.compile(r"[\\`\[\]<&$!\n]| {2,}\n")
_ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]")
_KEPT_ESCAPES = frozenset({r"\*", r"\_", r"\~", "\\\\"})
AUTOLINK = re.compile(r"<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*+|[\w.!#$%&'*+/=?^`{|}~-]++@[A-Za-z0-9.-]++)>")
_EXPRESSION = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]{0,200}+\}){0,500}+\}){0,500}+\}"
"""JavaScript in MDX."""
TAG = (
    r"</?[A-Za-z][A-Za-z0-9.-]*+(?:\s++(?:[A-Za-z_:][\w.:-]*+(?:\s*+=\s*+"
    rf"(?:{_EXPRESSION}|[^\s\"'=<>`{{]++[^\s\"'=<>`]*+|\"[^\"<]*+\"|'[^'<]*+'))?+|{_EXPRESSION}))*+\s*+/?>"
)
"""A tag of HTML, or of JSX as in MDX."""
_TAG = re.compile(TAG)
_OPAQUE = re.compile(r"<(code|kbd|samp|var|script|style|pre|textarea|svg|math)(?=[\s/>])")
LINK_TARGET = re.compile(
    r"\(\s*+(?:<[^<>\n]*+>|(?:[^\s()<\\]|\\.|\((?:[^\s()\\]|\\.){0,500}\)){0,2000}+)"
    r"(?:(?P<gap>\s++)(?P<title>\"(?:[^\"\\]|\\.){0,1000}+\"|'(?:[^'\\]|\\.){0,1000}+'|\((?:[^()\\]|\\.){0,1000}+\)))?+\s*+\)"
)
_LABEL = re.compile(r"\[(?P<label>(?:[^\[\]\\]|\\.){0,999}+)\]")
_FOOTNOTE = re.compile(r"\[\^[^\]\s\[\\]{1,100}\]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MATH = re.compile(r"\$\$(?:[^$\\]|\\.){1,2000}+\$\$|\$(?![\s$])(?:[^$\\\n]|\\.){1,500}+(?<!\s)\$(?!\d)")
_TEX_MATH = re.compile(
    r"\\\((?P<round>(?:[^\\]|\\(?!\))){1,500}?)\\\)|\\\[(?P<square>(?=\s|\\[A-Za-z])(?:[^\\]|\\(?!\])){1,2000}?)\\\]"
    r"|\\begin\{(?P<name>[A-Za-z]+\*?)\}(?:[^\\]|\\(?!end\{)){1,2000}?\\end\{(?P=name)\}"
)
_FORMULA = re.compile(r"\\[A-Za-z]|[\^_=]")
_WORD = re.compile(r"[^\W\d_]{2}")
_OTHER_LABEL = re.compile(r"\[[^\[\]\s]{1,500}\]")
_OWN_REFERENCE = re.compile(r"(?<!\w)\[[^\[\]\s]{1,500}\]\[\]")
_WIKI_LINK = re.compile(r"\[\[[^\[\]\n]{1,500}\]\](?![(\[])")
_PROTECTED_KINDS = (PLAIN_TEXT_KINDS - {"code", "tag", "printf", "entities"}) | {
    "printf",
    "emoji",
    "entity",
    "attributes",
    "javascript",
    "directive",
    "block-id",
    "mention",
    "keys",
}
_BACKTICK_RUN = re.compile(r"`+")
_TITLE_SYNTAX = re.compile(r"[\\\"'()]")
_ANY_SYNTAX = re.compile(r"\\[!-/:-@\[-`{-~]|[\\`\[\]<$]|!(?=\Z|\[)|&(?=[#A-Za-z])")


@slotted
class InlineText:
    """The translator's view of a line of Markdown, with its protected texts."""

    text: str
    spans: list[Span]


@slotted
class _OpenBracket:
    """An opening bracket: its position in the parts read so far."""

    part_index: int  # its index in the list of parts
    image: bool
    content_start: int  # where its content begins


@slotted
class _InlineScanState:
    source: str
    references: Collection[str]
    parts: list[tuple[str, str]] = field(default_factory=list)  # (text, kind of protection or "")
    brackets: list[_OpenBracket] = field(default_factory=list)
    inactive_brackets: int = 0  # brackets below this one cannot open a link: there is one inside
    missing_closers: set[str] = field(default_factory=set)  # closers that were not found
    backtick_runs: dict[int, list[int]] = field(default_factory=dict)


def scan_inline(source: str, references: Collection[str]) -> InlineText:
    """Read the source of a paragraph, its lines without prefixes; ``references`` are the defined labels."""
    state = _InlineScanState(source, references)
    state.backtick_runs = _find_backtick_runs(source)
    at = 0
    while at < len(source):
        match = _SPECIAL.search(source, at)
        if match is None:
            state.parts.append((source[at:], ""))
            break
        if match.start() > at:
            state.parts.append((source[at : match.start()], ""))
        at = _read_special(state, match)
    return _assemble(state.parts)


def _find_backtick_runs(source: str) -> dict[int, list[int]]:
    """Return the offsets of runs of backticks, by their length."""
    starts: dict[int, list[int]] = {}
    for match in _BACKTICK_RUN.finditer(source):
        starts.setdefault(len(match.group()), []).append(match.start())
    return starts


def _read_backticks(state: _InlineScanState, at: int) -> int:
    """Read a code span, else a run of backticks that opens none."""
    run = _BACKTICK_RUN.match(state.source, at)
    length = len(run.group()) if run else 1
    starts = state.backtick_runs.get(length, [])
    index = bisect_left(starts, at + length)
    if index == len(starts):
        return _add_plain(state, at, "`" * length)
    return _add_protected(state, at, starts[index] + length, "code")


def _read_special(state: _InlineScanState, match: re.Match[str]) -> int:
    """Read the construct at a special character; return its end."""
    at, sign = match.start(), match.group()
    if sign[-1] == "\n":
        state.parts.append((sign, "break") if len(sign) > 1 else (sign, ""))
        return match.end()
    return _READERS[sign](state, at)


def _add_protected(state: _InlineScanState, start: int, end: int, kind: str) -> int:
    state.parts.append((state.source[start:end], kind))
    return end


def _add_plain(state: _InlineScanState, at: int, text: str) -> int:
    state.parts.append((text, ""))
    return at + len(text)


def _read_backslash(state: _InlineScanState, at: int) -> int:
    if (math := _TEX_MATH.match(state.source, at)) is not None and _is_formula(math):
        return _add_protected(state, at, math.end(), "math")
    pair = state.source[at : at + 2]
    if pair == "\\\n":
        return _add_protected(state, at, at + 2, "break")
    if pair in _KEPT_ESCAPES or not _ESCAPED.match(pair):
        kept = pair if pair in _KEPT_ESCAPES else "\\"
        return _add_plain(state, at, kept)
    state.parts.append((pair[1], ""))
    return at + 2


def _is_formula(math: re.Match[str]) -> bool:
    r"""Whether what MathJax reads as a formula looks like one: in CommonMark, ``\(words\)`` are words in brackets."""
    if math["name"]:
        from llmcli.documents.formats.markup.latex_commands import MATH_ENVIRONMENT

        return bool(MATH_ENVIRONMENT.match(math["name"]))
    content = math["round"] or math["square"]
    return bool(_FORMULA.search(content) or not _WORD.search(content))


def _read_entity(state: _InlineScanState, at: int) -> int:
    found = _ENTITY.match(state.source, at)
    if not found:
        return _add_plain(state, at, "&")
    read = html.unescape(found.group())
    if read in {"&", "<", ">", '"', "'"} or (len(read) == 1 and read.isalpha()):
        state.parts.append((read, ""))
        return found.end()
    return _add_protected(state, at, found.end(), "entity")


def _read_math(state: _InlineScanState, at: int) -> int:
    found = _MATH.match(state.source, at)
    return _add_protected(state, at, found.end(), "math") if found else _add_plain(state, at, "$")


def _read_angle_bracket(state: _InlineScanState, at: int) -> int:
    source = state.source
    if link := AUTOLINK.match(source, at):
        return _add_protected(state, at, link.end(), "url")
    if tag := _TAG.match(source, at):
        name = _OPAQUE.match(source, at)
        end = _find_closer(state, f"</{name[1]}>", tag.end()) if name and not tag.group().endswith("/>") else 0
        return _add_protected(state, at, end or tag.end(), "code" if end else "tag")
    for opener, closer in (("<!--", "-->"), ("<?", "?>"), ("<![CDATA[", "]]>")):
        if source.startswith(opener, at) and (end := _find_closer(state, closer, at + len(opener))):
            return _add_protected(state, at, end, "tag")
    return _add_plain(state, at, "<")


def _find_closer(state: _InlineScanState, closer: str, at: int) -> int:
    """Return the end of the construct that begins before ``at``, 0 if it has none."""
    if closer in state.missing_closers:
        return 0
    found = state.source.find(closer, at)
    if found < 0:
        state.missing_closers.add(closer)  # nor does any later one
        return 0
    return found + len(closer)


def _open_image(state: _InlineScanState, at: int) -> int:
    if not state.source.startswith("![", at):
        return _add_plain(state, at, "!")
    if end := _wiki_link_end(state, at + 1):
        return _add_protected(state, at, end, "reference")
    state.brackets.append(_OpenBracket(len(state.parts), image=True, content_start=at + 2))
    return _add_plain(state, at, "![")


def _open_bracket(state: _InlineScanState, at: int) -> int:
    fixed = _FOOTNOTE.match(state.source, at)
    if fixed:
        return _add_protected(state, at, fixed.end(), "reference")
    if end := _wiki_link_end(state, at) or _own_reference_end(state, at):
        return _add_protected(state, at, end, "reference")
    state.brackets.append(_OpenBracket(len(state.parts), image=False, content_start=at + 1))
    return _add_plain(state, at, "[")


def _wiki_link_end(state: _InlineScanState, at: int) -> int:
    """Return the end of ``[[Page]]`` or ``[[Page|words]]``, 0 if none begins here: the page is found by this text."""
    found = _WIKI_LINK.match(state.source, at)
    return found.end() if found and not is_defined(found[0][2:-2], state.references) else 0


def _own_reference_end(state: _InlineScanState, at: int) -> int:
    """Return the end of ``[name][]`` that this document does not define, 0 if none begins here (mkdocs-autorefs)."""
    found = _OWN_REFERENCE.match(state.source, at)
    return found.end() if found and not is_defined(found[0][1:-3], state.references) else 0


def _close_bracket(state: _InlineScanState, at: int) -> int:
    if not state.brackets:
        return _add_plain(state, at, "]")
    opener = state.brackets.pop()
    if not opener.image and len(state.brackets) < state.inactive_brackets:
        state.inactive_brackets = len(state.brackets)
        return _add_plain(state, at, "]")
    return _close_link(state, at, opener)


def _close_link(state: _InlineScanState, at: int, opener: _OpenBracket) -> int:
    """Turn a pair of brackets into a link if it is one."""
    source = state.source
    state.inactive_brackets = min(state.inactive_brackets, len(state.brackets))
    target = LINK_TARGET.match(source, at + 1)
    label = None if target else _LABEL.match(source, at + 1)
    own = source[opener.content_start : at] if at - opener.content_start <= 999 else ""  # noqa: PLR2004 - CommonMark's limit
    if target:
        end = target.end()
        closing = _split_title(source, at, target)
    elif label and label["label"].strip() and is_defined(label["label"], state.references):
        end, closing = label.end(), [(source[at : label.end()], "target")]
    elif _OTHER_LABEL.match(source, at + 1):  # other documents may define it (mkdocs-autorefs, snippets)
        end, closing = label.end() if label else at + 1, [(source[at : label.end() if label else at + 1], "target")]
    elif (not label or not label["label"].strip()) and own.strip() and is_defined(own, state.references):
        end, closing = (label.end() if label else at + 1), [(f"][{own}]", "target")]
    else:
        return _add_plain(state, at, "]")
    state.parts[opener.part_index] = (state.parts[opener.part_index][0], "link")
    state.parts += closing
    if not opener.image:
        state.inactive_brackets = len(state.brackets)
    return end


def _split_title(source: str, at: int, target: re.Match[str]) -> list[tuple[str, str]]:
    start, end = target.span("title")
    title = source[start + 1 : end - 1] if start >= 0 else ""
    if not any(map(str.isalpha, title)):
        return [(source[at : target.end()], "target")]
    return [
        (source[at : start + 1], "target"),
        (_ESCAPED.sub(lambda match: match.group()[1], title), "title"),
        (source[end - 1 : target.end()], "target"),
    ]


def is_defined(label: str, references: Collection[str]) -> bool:
    """Whether a link reference definition has this label (CommonMark: case and white space are ignored)."""
    return bool(references) and normalize_label(label) in references


def normalize_label(label: str) -> str:
    """Return the label in the form used for comparison."""
    return " ".join(label.split()).lower().upper()


_READERS: dict[str, Callable[[_InlineScanState, int], int]] = {
    "\\": _read_backslash, "`": _read_backticks, "<": _read_angle_bracket, "&": _read_entity, "$": _read_math, "!": _open_image, "[": _open_bracket, "]": _close_bracket,
}  # fmt: skip


def _assemble(parts: list[tuple[str, str]]) -> InlineText:
    """Join the parts; find addresses and placeholders in the parts that are not protected yet."""
    read: list[str] = []
    spans: list[Span] = []
    at = 0
    for loose, group in groupby(parts, key=lambda part: not part[1]):
        if loose:
            words = "".join(text for text, _ in group)
            spans += [Span(at + span.start, at + span.end, span.kind) for span in find_spans(words, _PROTECTED_KINDS)]
            read.append(words)
            at += len(words)
            continue
        for text, kind in group:
            inner = find_spans(text, {"control"}) if kind == "title" else [Span(0, len(text), kind)]
            spans += [Span(at + span.start, at + span.end, span.kind) for span in inner]
            read.append(text)
            at += len(text)
    return InlineText("".join(read), spans)


def write_inline(
    translation: str, wanted: tuple[str, ...], references: Collection[str], *, lines: bool
) -> list[tuple[str, bool]]:
    """Return the translation as parts to write, protected (True) or not, escaped only where necessary.

    ``lines``: keep its line ends; otherwise they become blanks here, so that what they separate stays separate.
    """
    tidy = clean_translation if lines else _clean_to_one_line
    parts = [(text if kept else tidy(text), kept) for text, kept in split_at_protected(translation, wanted)]
    light = _escape_parts(parts, heavily=False)
    again = scan_inline("".join(text for text, _ in light), references)
    kept_texts = [text for text, kept in parts if kept]
    if (
        again.text == "".join(text for text, _ in parts)
        and list(protected_texts(again.text, again.spans)) == kept_texts
    ):
        return light
    return _escape_parts(parts, heavily=True)


def _clean_to_one_line(text: str) -> str:
    return collapse_whitespace(clean_translation(text))


def _escape_parts(parts: list[tuple[str, bool]], *, heavily: bool) -> list[tuple[str, bool]]:
    """Escape unprotected parts: in a title its quotes, elsewhere every character that could be markup."""
    done: list[tuple[str, bool]] = []
    in_title = False
    for text, kept in parts:
        before = done[-1][0][-1:] if done and done[-1][1] else ""
        if kept:
            if before and before in "`$" and text.startswith(before):
                done.append((" ", False))
            if not is_control(text):  # else it may be within a title
                in_title = text.startswith("](") and text.endswith(('"', "'", "(")) and not in_title
            done.append((text, True))
        elif in_title:
            done.append((_TITLE_SYNTAX.sub(r"\\\g<0>", collapse_whitespace(text)), False))
        elif heavily:
            gap = " " if before == "$" and text[:1].isdigit() else ""
            done.append((gap + _ANY_SYNTAX.sub(_escape, text), False))
        else:
            done.append((text, False))
    return done


def _escape(match: re.Match[str]) -> str:
    found = match.group()
    if found in _KEPT_ESCAPES:
        return found
    return "".join("\\" + sign if sign in "\\`[]<&$!" else sign for sign in found)
