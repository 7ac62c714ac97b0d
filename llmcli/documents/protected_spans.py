"""Protected spans: text that a translation must not change, found by patterns that are linear in the text.

Each pattern starts at one character and never scans a stretch of text from more than one start: because of a
look-behind at the first character, classes that exclude the start, or a bound.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from llmcli.documents.segments import Span

_UNITS = (
    "km/h|m/s|kbit/s|Mbit/s|Gbit/s|km|cm|mm|nm|kg|mg|ms|min|ml|mi|ft|lb|oz|[kMGT]i?B|KB|[kMG]?Hz|[km]?W|kWh|mAh|[mk]?V"
    "|px|pt|em|rem|dpi|fps|bits?|bytes|m|g|t|l|s|h|A|K|\u00b0[CF]?|%|\u2030|\u20ac|\\$|\u00a3|\u00a5"
)
_CONTROL_STRING = r"[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)"
_CONTROL = (
    rf"(?:\x1b(?:[\]PX^_]{_CONTROL_STRING}|\[[0-?]*+[ -/]*+[@-~]|[ -/]++[0-~]|[0-Z\\-_c])|\x9b[0-?]*+[ -/]*+[@-~]"
    r"|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff])++"
)
"""Control sequences (ECMA-48), other control characters, and the line separators that are no line ends of a document.

An operating system command without an end is no sequence: it would contain the rest of the text.
"""
_SYNTAXES: dict[str, tuple[str, str]] = {
    # syntax: (kind of the spans, pattern); if two start at the same offset, the first one here applies
    "control": ("control", _CONTROL),
    "tag": ("tag", r"</?[A-Za-z][\w:.-]*+(?:[\s/][^<>]*+)?>"),
    "url": (
        "url",
        (
            r"(?<![A-Za-z0-9+.-])(?:(?:https?|ftps?|sftp|file|git|ssh|wss?|s3|ldaps?|irc|data|app)://|www\.|mailto:|tel:)"
            r"[^\s\x00-\x1f\x7f-\x9f\ufeff<>\"`|\\^\[\]\u3000-\u303f\uff00-\uffef\u201c\u201d\u2018\u2019\u00ab\u00bb]++"
        ),
    ),
    "email": ("email", r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]*+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++"),
    "mustache": ("placeholder", r"\{\{\{?[^{}\n]{1,200}\}\}\}?|\{%[^{}\n]{1,200}%\}|\{#[^{}\n]{1,200}#\}"),
    "attributes": (
        "placeholder",
        (
            r"\{(?::|[ \t]{0,3}[.#])[^{}\n]{1,200}\}|\{=[a-z][\w-]{0,50}\}"
            r"|(?<![\s\w])\{[ \t]{0,3}[A-Za-z][\w:-]{0,50}=[^{}\n]{1,200}\}"
        ),
    ),
    "keys": (
        "placeholder",
        (
            r"\+\+(?:(?:[\w-]{1,30}|\"[^\"\n]{1,50}\")(?:\+(?:[\w-]{1,30}|\"[^\"\n]{1,50}\")){1,5}|\"[^\"\n]{1,50}\""
            r"|ctrl|alt|shift|cmd|win|enter|tab|esc|space|del|f\d\d?|\w)\+\+"
        ),
    ),
    "javascript": ("placeholder", r"\{/\*[^*\n]{0,300}\*/\}|\{(?:new )?[A-Za-z_$][\w$.]{0,80}\([^{}\n]{0,300}\}"),
    "directive": ("placeholder", r"(?<![\w:]):[A-Za-z][\w-]{0,50}(?=[\[{])"),
    "block-id": ("placeholder", r"(?<=\s)\^[A-Za-z0-9-]{1,60}\Z"),
    "mention": ("placeholder", r"(?<![\w.@/+])@[A-Za-z0-9_]++(?:[:./-][A-Za-z0-9_]++)*+"),
    "nesting": ("placeholder", r"\$t\([^()\n]{1,200}\)"),
    "dollar": ("placeholder", r"\$\{[^{}\n]{1,200}\}|\$\d{1,2}(?![\d.,]*\d)|\$[A-Z_][A-Z0-9_]++(?![\w])"),
    "ruby": ("placeholder", r"%\{[^{}\n]{1,200}\}|%<[A-Za-z_]\w{0,99}>[-+#0]{0,5}[\d.]{0,9}[A-Za-z]"),
    "brace": (
        "placeholder",
        (
            r"\{(?:[A-Za-z_]\w{0,99}|\d{1,3})?(?:[.\[][^{}\s]{1,80})?(?:![rsa])?"
            r"(?:,\s{0,3}[^{}\n]{0,100}|:[^{}\s]{0,60})?\}"
        ),
    ),
    "printf": (
        "placeholder",
        (
            r"%(?:(?:\d{1,2}\$)?#@\w{1,99}@|arg\b)|%\([A-Za-z_]\w{0,99}\)[-+#0 ]{0,5}\d{0,9}(?:\.\d{1,9})?[A-Za-z]"
            r"|(?<![\d%])%(?:\d{1,2}\$)?[-+#0]{0,5}\d{0,9}(?:\.\d{1,9})?(?:hh?|ll?|[jztLq])?[sdiufFeEgGxXocpaA@]"
            r"(?![A-Za-z]{3})"
        ),
    ),
    "c-format": (
        "placeholder",
        (
            r"%(?:%|(?:\d{1,2}\$)?#@\w{1,99}@|arg\b|\([A-Za-z_]\w{0,99}\)[-+#0 ]{0,5}\d{0,9}(?:\.\d{1,9})?[A-Za-z]|[-+#0 ]{0,5}<PRI\w{1,20}>"
            r"|(?:\d{1,2}\$)?[-+#0 ']{0,5}(?:\*|\d{1,9})?(?:\.(?:\*|\d{1,9}))?(?:hh?|ll?|[jztLq]|I64)?[A-Za-z@])"
        ),
    ),
    "percent": ("placeholder", r"%L?\d{1,2}|%n"),
    "mnemonic": ("placeholder", r"&(?=[^\W_])(?![A-Za-z][A-Za-z0-9]{1,30};)|&&"),
    "colon": ("placeholder", r"(?<![\w:]):[A-Za-z_]\w{0,99}"),
    "entity": (
        "entity",
        (
            r"&(?:nbsp|ensp|emsp|thinsp|shy|zwnj|zwj|lrm|rlm|#0{0,5}(?:[12]?\d|3[01]|127|160|173|823[23])"
            r"|#[xX]0{0,5}(?:1?[0-9a-fA-F]|7[fF]|[aA][0dD]|202[89]));"
        ),
    ),
    "entities": ("entity", r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"),
    "emoji": ("placeholder", r"(?<![\w:]):[a-z][a-z0-9_+-]{0,50}:(?![\w:])"),
    "number": (
        "number",
        rf"(?<![\w.,])(?:[$\u20ac\u00a3\u00a5]\s?)?\d++(?:[.,'\u2019\u00a0\u202f:/]\d++)*+(?:\s?(?:{_UNITS})(?!\w))?",
    ),
}
_FIRST_CHARACTERS = {
    "control": r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]",
    "tag": "<",
    "url": r"(?<![A-Za-z0-9+.-])[a-z]",
    "email": r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9]",
    "number": r"(?<![\w.,])[$\u20ac\u00a3\u00a5\d]",
    "entity": "&",
    "entities": "&",
    "mnemonic": "&",
    "colon": ":",
    "emoji": ":",
    "nesting": r"\$",
    "dollar": r"\$",
    "mustache": r"\{",
    "attributes": r"\{",
    "mention": "@",
    "keys": r"\+",
    "javascript": r"\{",
    "directive": ":",
    "block-id": r"\^",
    "brace": r"\{",
    "ruby": "%",
    "printf": "%",
    "c-format": "%",
    "percent": "%",
}
"""The characters at which a pattern can start; never a letter after another letter, since none starts there."""
_NECESSARY_CHARACTERS = {**_FIRST_CHARACTERS, "url": r":|www\.", "email": "@", "number": r"\d"}
"""What a text with a span of the kind contains: most messages have nothing of it."""
_STEP_CHARS = 4096
"""Number of characters that are scanned at once: a longer native call would delay signals."""
PLAIN_TEXT_KINDS = frozenset(
    {"control", "code", "tag", "url", "email", "mustache", "nesting", "dollar", "ruby", "brace", "printf", "entities"}
)
"""The kinds that are protected in a text of no particular format."""
MESSAGE_KINDS = PLAIN_TEXT_KINDS - {"code"}
"""The kinds that are protected in a program's message by default."""

_ESCAPED_BRACES = ("{{", "}}")
_COMPOSITE_FORMAT = re.compile(r"\{\{|\}\}|\{\d{1,7}(?:,\s{0,9}-?\d{1,7})?(?::[^{}\n]{0,60})?\}")
_BACKTICKS = re.compile(r"`+")
_CLOSERS = {")": "(", "}": "{"}


def find_spans(text: str, kinds: Collection[str]) -> list[Span]:
    """Return the spans of these kinds in order, disjoint.

    ``kinds``: "control" (sequences and characters), "code", "tag", "url", "email", "entity" (of invisible characters),
    "entities" (all), "emoji", "number" (with its unit), and the syntaxes of placeholders: "mustache" ({{x}}), "nesting"
    ($t(key)), "dollar" (${x}, $1), "ruby" (%{x}), "brace" ({name}, {0}), "printf" (%s, %1$s, %#@name@, %(name)s; only
    what is hardly a percentage), "c-format" (all of printf's), "percent" (%1, %n), "mnemonic" (Qt's &File, &&), "colon"
    (:name), "attributes" (kramdown's {: .class}, { width=80 }, Pandoc's {=html}), "javascript" (MDX's {f(x)}), "directive" (:name before [words]), "block-id" (Obsidian's ^id at the end), "keys" (PyMdown's ++ctrl+c++), "mention" (@user, @org/team, a citation of Pandoc).
    "placeholder" means the first six of these.
    """
    wanted = frozenset(kinds)
    if "placeholder" in wanted:
        wanted |= {"mustache", "nesting", "dollar", "ruby", "brace", "printf"}
    code = [Span(start, end, "code") for start, end in code_spans(text)] if "code" in wanted else []
    pattern = _compile_pattern(wanted)
    if pattern is None:
        return code
    if len(text) <= _STEP_CHARS and not _compile_necessary(wanted).search(text):
        return code
    spans, at = [], 0
    for span in [*code, None]:
        end = span.start if span else len(text)
        spans += [_span_of_match(match, text) for match in pattern.finditer(text, at, end) if match.lastgroup != "rest"]
        if span:
            spans.append(span)
            at = span.end
    return [span for span in spans if span.end > span.start]


def find_message_syntax(text: str) -> tuple[list[Span], bool]:
    """Return the spans of a program's message, and whether it has a printf placeholder, so that "%%" means "%"."""
    has_printf = "%" in text and bool(find_spans(text, {"printf"}))
    return find_spans(text, MESSAGE_KINDS | {"c-format"} if has_printf else MESSAGE_KINDS), has_printf


def add_composite_format(text: str, spans: Sequence[Span]) -> tuple[list[Span], bool]:
    """Return the spans of a message of .NET with its format items and doubled braces, and whether it has an item.

    Only in a message with an item are doubled braces an escape. Source: "Composite formatting" in the manual of .NET.
    """
    found = [Span(*match.span(), "placeholder") for match in _COMPOSITE_FORMAT.finditer(text)]
    if not any(text[span.start : span.start + 2] not in _ESCAPED_BRACES for span in found):
        return list(spans), False
    free = [new for new in found if not any(new.start < old.end and old.start < new.end for old in spans)]
    return sorted([*spans, *free], key=lambda span: span.start), True


def is_control(text: str) -> bool:
    """Whether a protected text is a control sequence or control characters."""
    return bool(re.match(_FIRST_CHARACTERS["control"], text))


def code_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of code between runs of backticks of one length (CommonMark 6.1, without escapes)."""
    runs = [match.span() for match in _BACKTICKS.finditer(text)]
    places: dict[int, list[int]] = {}
    for index in range(len(runs) - 1, -1, -1):
        places.setdefault(runs[index][1] - runs[index][0], []).append(index)
    spans, index = [], 0
    while index < len(runs):
        start, end = runs[index]
        same = places[end - start]
        while same and same[-1] <= index:
            same.pop()
        if same:
            index = same[-1]
            spans.append((start, runs[index][1]))
        index += 1
    return spans


@lru_cache(maxsize=64)
def _compile_pattern(wanted: frozenset[str]) -> re.Pattern[str] | None:
    names = [name for name in _SYNTAXES if name in wanted]
    if not names:
        return None
    chosen = [f"(?P<{name.replace('-', '_')}>{_SYNTAXES[name][1]})" for name in names]
    beginnings = "|".join(dict.fromkeys(_FIRST_CHARACTERS[name] for name in names))
    rest = rf"(?s:.)(?:(?<=[A-Za-z])[A-Za-z]++|(?!{beginnings})(?s:.)){{0,{_STEP_CHARS}}}+"
    return re.compile(f"{'|'.join(chosen)}|(?P<rest>{rest})")


@lru_cache(maxsize=64)
def _compile_necessary(wanted: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(dict.fromkeys(_NECESSARY_CHARACTERS[name] for name in _SYNTAXES if name in wanted)))


def _span_of_match(match: re.Match[str], text: str) -> Span:
    syntax = (match.lastgroup or "").replace("_", "-")
    start, end = match.span()
    if syntax == "url":
        end = _trim_url(text, start, end)
    return Span(start, end, _SYNTAXES[syntax][0])


def _trim_url(text: str, start: int, end: int) -> int:
    """Drop what more likely belongs to the sentence: punctuation at the end, and unmatched closing brackets."""
    excess = {closer: text.count(closer, start, end) - text.count(opener, start, end)
              for closer, opener in _CLOSERS.items()}  # fmt: skip
    while end > start:
        last = text[end - 1]
        if last in _CLOSERS and excess[last] > 0:
            excess[last] -= 1
        elif last not in ".,;:!?'*_~":
            break
        end -= 1
    return end
