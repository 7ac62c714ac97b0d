"""YAML message files: the string values, never the keys, each kept in its own style where the translation allows it.

libyaml reports the offsets of scalars. Source of the styles: YAML 1.2, chapters 7 and 8. The type of a plain scalar
follows YAML 1.1, which reads more words as something other than a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.message_files import icu_messages
from llmcli.documents.segments import Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import write_translation
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen, slotted

_MAX_DEPTH = 500
"""The most brackets that may be open at a time: libyaml's time grows with the square of their number."""
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*+\s++)*+")
_HEADER = re.compile(r"[|>](?P<signs>[-+1-9]*)[ \t]*(?:#[^\r\n]*+)?(?P<newline>\r\n|\r|\n)")
_SAFE_IN_FLOW = re.compile(r"[^\W\d_](?:[^\s:#\[\]{},]|[ ](?=[^\s#])|:(?=[^\s,\[\]{}])|(?<=\S)#)*\Z")
_SAFE_IN_BLOCK = re.compile(r"[^\W\d_](?:[^\s:#]|[ ](?=[^\s#])|:(?=\S)|(?<=\S)#)*\Z")
_YAML11_WORDS = re.compile(r"(?:y|n|yes|no|on|off|true|false|null)\Z", re.IGNORECASE)
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile(r"(?<![ \t])[ \t]*+\n(?:[ \t]*+\n)*+[ \t]*+")
_BREAKS = re.compile("[\x85\u2028\u2029]")


@frozen
class _Scalar:
    """A string value: its offsets without properties, its style, and its path of keys."""

    start: int
    end: int
    value: str
    style: str
    path: tuple[str, ...]
    in_flow: bool


class YamlFormat(DocumentFormat):
    """YAML message files."""

    name = "yaml"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the string values that contain words."""
        del target
        scalars = [scalar for scalar in _string_scalars(text) if has_letters(scalar.value)]
        icu = any(icu_messages.is_icu(scalar.value) for scalar in scalars)
        return [segment for scalar in scalars if (segment := _scalar_segment(text, scalar, icu=icu))]

    def check(self, text: str) -> str:
        """Parse with libyaml."""
        return find_problem(_parse_events(text, 0))

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return a file whose only root key is its source language with the target in its place, as Rails expects."""
        roots = {segment.path[0] if segment.path else "" for segment in segments}
        root = roots.pop() if len(roots) == 1 else ""
        if root.replace("_", "-").lower() != source.lower():
            return text
        return re.sub(rf"(?m)^([\"']?){re.escape(root)}(?=[\"']?[ \t]*:)", rf"\g<1>{target}", text, count=1)


def _parse_events(text: str, offset: int) -> Iterator[Any]:
    """Yield the events of the parser; raises ``BadDocument``."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text[offset:], Loader=_loader()):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                raise _depth_error(event.start_mark.line + 1 if event.start_mark else 1)
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = line_at(text, len(text))  # libyaml may report a line beyond the end
        raise BadDocument(line=min(mark.line + 1, last) if mark else 1, detail=error.problem or "not YAML") from error
    except yaml.reader.ReaderError as error:
        raise BadDocument(line=_line_of_unprintable(text), detail=error.reason) from error


@cache
def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _depth_error(line: int) -> BadDocument:
    return BadDocument(line=line, detail=f"nested deeper than {_MAX_DEPTH} levels")


def _line_of_unprintable(text: str) -> int:
    found = _UNPRINTABLE.search(text)
    return line_at(text, found.start() if found else 0)


@slotted
class _OpenCollection:
    mapping: bool
    flow: bool
    key: str | None = None  # of the next value, None if a key comes first
    count: int = 0
    is_key: bool = False  # a collection that is a key: its content is no value


def _string_scalars(text: str) -> Iterator[_Scalar]:
    """Yield the strings that are values."""
    import yaml

    offset = int(text.startswith("\ufeff"))
    levels: list[_OpenCollection] = []
    for event in _parse_events(text, offset):
        if isinstance(event, yaml.CollectionEndEvent):
            if levels.pop().is_key:
                levels[-1].key = ""
            else:
                _end_value(levels)
        elif isinstance(event, yaml.NodeEvent):
            is_key = bool(levels) and levels[-1].mapping and levels[-1].key is None
            if not is_key:
                _number_item(levels)
            if isinstance(event, yaml.CollectionStartEvent):
                mapping = isinstance(event, yaml.MappingStartEvent)
                levels.append(_OpenCollection(mapping, bool(event.flow_style), is_key=is_key))
            elif is_key:
                levels[-1].key = event.value if isinstance(event, yaml.ScalarEvent) else f"*{event.anchor}"
            else:
                if isinstance(event, yaml.ScalarEvent) and _is_string(event):
                    yield from _make_scalar(text, event, levels, offset)
                _end_value(levels)


def _make_scalar(text: str, event: Any, levels: list[_OpenCollection], offset: int) -> Iterator[_Scalar]:
    if any(level.is_key for level in levels):
        return
    start, end = event.start_mark.index + offset, event.end_mark.index + offset
    properties = _PROPERTIES.match(text, start, end)
    path = tuple(level.key or "" for level in levels)
    in_flow = any(level.flow for level in levels)
    yield _Scalar(properties.end() if properties else start, end, event.value, event.style or "", path, in_flow)


def _number_item(levels: list[_OpenCollection]) -> None:
    if levels and not levels[-1].mapping:
        levels[-1].key = str(levels[-1].count)
        levels[-1].count += 1


def _end_value(levels: list[_OpenCollection]) -> None:
    if levels and levels[-1].mapping:
        levels[-1].key = None


def _is_string(event: Any) -> bool:
    if event.tag:
        return event.tag in {"tag:yaml.org,2002:str", "!"}
    return bool(event.style) or _means_string(event.value)


def _means_string(plain: str) -> bool:
    """Whether every parser reads a plain scalar as a string, and not as a date, a number or a boolean."""
    import yaml

    tag: str = _resolver(yaml.SafeLoader).resolve(yaml.ScalarNode, plain, (True, False))
    return tag == "tag:yaml.org,2002:str" and not _YAML11_WORDS.match(plain)


@cache
def _resolver(loader: Any) -> Any:
    return loader("")


def _scalar_segment(text: str, scalar: _Scalar, *, icu: bool) -> Segment | None:
    block = scalar.style in {"|", ">"}
    # these line ends are lost in a block scalar that is written anew, but not in a quoted one
    has_other_breaks = block and bool(_BREAKS.search(text, scalar.start, scalar.end))
    core = scalar.value.strip()
    spans = tuple(icu_messages.find_message_spans(core, icu=icu))
    if not has_letters(core, spans):
        return None
    first = len(scalar.value) - len(scalar.value.lstrip())
    around = (scalar.value[:first], scalar.value[len(scalar.value.rstrip()) :])
    start, end = scalar.start, scalar.end
    style = '"' if block else scalar.style
    write: Callable[[str], str] = partial(_write_flow_scalar, style=style, around=around, in_flow=scalar.in_flow)
    if block:
        laid_out = _locate_block_scalar(text, scalar)
        if laid_out is None:
            return None
        start, end, write = (scalar.start, laid_out[1], write) if has_other_breaks else laid_out
    wanted = protected_texts(core, spans)

    def encode(translation: str) -> str:
        return write(write_translation(translation, core, wanted, icu_messages.choose_quoting(core) if icu else str))

    return Segment(start, end, core, encode, spans, "message", scalar.path)


def _write_flow_scalar(words: str, *, style: str, around: tuple[str, str], in_flow: bool) -> str:
    """Return a flow scalar in its style, else in the next style that can represent the words."""
    safe = _SAFE_IN_FLOW if in_flow else _SAFE_IN_BLOCK
    whole = around[0] + words + around[1]
    if not style and safe.match(whole) and _means_string(whole):
        return whole
    if style != '"' and whole.isprintable() and (style == "'" or "'" not in whole):
        return "'" + whole.replace("'", "''") + "'"
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(whole, ensure_ascii=False))


def _locate_block_scalar(text: str, scalar: _Scalar) -> tuple[int, int, Callable[[str], str]] | None:
    """Return the region of a block scalar's words and how they are written there."""
    header = _HEADER.match(text, scalar.start, scalar.end)
    if header is None:
        return None
    body = text[header.end() : scalar.end]
    core = body.strip(" \t\r\n")
    if not core:
        return None
    start = header.end() + body.index(core)
    end = start + len(core)
    line_start = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    lead = len(scalar.value.lstrip("\n")) - len(scalar.value.lstrip(" \n"))  # the header declares the indent
    indent = text[line_start:start][: start - line_start - lead]
    signs = header["signs"]
    more = any(line.startswith((indent + " ", indent + "\t")) for line in core.splitlines()[1:])
    if not indent or indent.strip(" "):
        return None
    newline = header["newline"]
    if scalar.style == ">" and more:
        literal = f"|{signs}{newline}{indent}"
        return scalar.start, end, lambda words: literal + _indent_lines(words, newline, indent)
    if scalar.style == ">":
        return start, end, partial(_fold_lines, newline=newline, indent=indent)
    return start, end, lambda words: _indent_lines(words, newline, indent)


def _fold_lines(words: str, *, newline: str, indent: str) -> str:
    """Return words as a folded scalar has them: with one more line end for each run of them, since one is a blank."""
    return _LINE_ENDS.sub(lambda match: newline * (match[0].count("\n") + 1) + indent, words)


def _indent_lines(words: str, newline: str, indent: str) -> str:
    return newline.join(indent + line if line.strip() else "" for line in words.split("\n"))[len(indent) :]


FORMAT = YamlFormat()
