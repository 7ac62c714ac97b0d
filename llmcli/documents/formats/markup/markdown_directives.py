"""Blocks of other programs in Markdown: directives of MyST, settings of mkdocstrings and PyMdown, included files, tables, math.

CommonMark reads their lines as paragraphs. The words in them are found here, line by line; all else has to stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.fast_dataclass import field, slotted

Span = tuple[int, int]
NO_WORDS: Span = (0, 0)

_LEAD = re.compile(r"(?:[\s>]|(?:[-+*]|\d{1,9}[.)])[ \t]+(?=[:\\]))*")
_OPENER = re.compile(r"(?P<colons>:{3,})[ \t]*\{(?P<name>[A-Za-z][\w:.+-]*)\}[ \t]*")
_CLOSER = re.compile(r"(?P<colons>:{3,})\Z")
_OPTION = re.compile(r":(?P<name>[\w-]+):(?:[ \t]+(?P<value>\S.*))?\Z")
_YAML_BORDER = "---"
_WITH_SETTINGS = re.compile(r":::[ \t]+[A-Za-z_][\w-]*(?:[.:]\w+)*\Z|/{3,}[ \t]+[\w-]+(?:[ \t]*\|.*)?\Z")
_SETTING = re.compile(r"(?:\t| {4})\s*:?[\w-]+:(?:\s|\Z)")
_INDENTED = re.compile(r"(?:\t| {4})\s*\S")
_SCISSORS = re.compile(r";*-+8<-+\Z")
_MATH = re.compile(r"\\(?:\[\Z|begin\{(?P<environment>[A-Za-z]+\*?)\})")
_GRID = re.compile(r"\+[-=:]{2,}[-=:+]*\+\Z")
_COLUMNS = re.compile(r"-{2,}(?:[ \t]+-{2,})+\Z")
_MAX_NESTING = 50
_MODULE_CODE = re.compile(
    r"(?:export[ \t]+(?:default[ \t]+)?(?:async[ \t]+)?(?:function|class)\b[^\n]*\{|export[ \t]+(?:const|let|var)[ \t]+[\w$]+[ \t]*="
    r"|export[ \t]+default[ \t]+\(|import[ \t]+\{)"
)


@slotted
class _Directive:
    """An open directive: its lines so far, and whether the next one may be an option."""

    name: str
    colons: int
    indent: int
    is_prose: bool
    has_options: bool = True
    in_yaml: bool = False
    lines: dict[int, Span] = field(default_factory=dict)


def find_directive_lines(text: str, lines: Sequence[str]) -> dict[int, Span]:
    """Return the lines that stand alone, by number, with the span of the words in each (after quote and list marks).

    In a directive that is not known to hold prose, no line has words. A directive without an end is none.
    """
    fixed = [*_setting_lines(lines), *_included_lines(lines), *_math_lines(lines), *_module_lines(lines)]
    fixed += _table_lines(lines)
    found = dict.fromkeys(fixed, NO_WORDS)
    if ":::" in text and "{" in text:
        found |= _directive_lines(lines)
    return found


def _lead_end(line: str) -> int:
    lead = _LEAD.match(line)
    return lead.end() if lead else 0


def _setting_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the settings of an object that mkdocstrings or mkdocs-click documents, or of a block of PyMdown."""
    below = 0
    for number, line in enumerate(lines[:-1]):
        if number >= below and _WITH_SETTINGS.match(line.strip()) and _SETTING.match(lines[number + 1]):
            below = number + 1
            while below < len(lines) and _INDENTED.match(lines[below]):
                yield below
                below += 1


def _included_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the names of files between two lines of scissors (PyMdown's snippets)."""
    borders = [number for number, line in enumerate(lines) if _SCISSORS.match(line.strip())]
    for first, last in zip(borders[::2], borders[1::2], strict=False):
        yield from range(first, last + 1)


def _module_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the lines of JavaScript in MDX: exported code and imported names, up to an empty line."""
    in_code = False
    for number, line in enumerate(lines):
        in_code = bool(line.strip()) and (in_code or _MODULE_CODE.match(line) is not None)
        if in_code:
            yield number


def _table_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the lines of tables that are drawn with characters, as Pandoc reads them, up to an empty line."""
    in_table = False
    for number, line in enumerate(lines):
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        begins = _GRID.match(line.strip()) or _COLUMNS.match(following) or _COLUMNS.match(line.strip())
        in_table = bool(line.strip()) and (in_table or begins is not None)
        if in_table:
            yield number


def _math_lines(lines: Sequence[str]) -> Iterator[int]:
    r"""Yield the lines of formulas between ``\[`` and ``\]``, and of the environments of LaTeX that hold formulas."""
    from llmcli.documents.formats.markup.latex_commands import MATH_ENVIRONMENT

    opened, closer = 0, ""
    for number, line in enumerate(lines):
        content = line[_lead_end(line) :].rstrip()
        if not closer and (opener := _MATH.match(content)) is not None:
            environment = opener["environment"]
            if environment is None or MATH_ENVIRONMENT.match(environment):
                opened, closer = number, "\\]" if environment is None else f"\\end{{{environment}}}"
        if closer and content.endswith(closer):
            yield from range(opened, number + 1)
            closer = ""


def _directive_lines(lines: Sequence[str]) -> dict[int, Span]:
    from llmcli.documents.formats.markup.rst_format import BODY_DIRECTIVES

    found: dict[int, Span] = {}
    opened: list[_Directive] = []
    for number, line in enumerate(lines):
        indent = _lead_end(line)
        content = line[indent:].rstrip()
        closer = _CLOSER.match(content)
        if closer and opened and len(closer["colons"]) >= opened[-1].colons:
            done = opened.pop()
            (opened[-1].lines if opened else found).update(done.lines)
            continue
        if opened and (span := _find_line_text(opened[-1], content, indent)) is not None:
            opened[-1].lines[number] = span
        elif len(opened) < _MAX_NESTING and (opener := _OPENER.match(content)) is not None:
            name = opener["name"]
            directive = _Directive(name, len(opener["colons"]), indent, name.rpartition(":")[2] in BODY_DIRECTIVES)
            directive.lines[number] = _find_argument_text(name, opener.end(), content)
            opened.append(directive)
    return found


def _find_argument_text(name: str, start: int, content: str) -> Span:
    from llmcli.documents.formats.markup.rst_format import ARGUMENT_IS_CONTENT, TITLE_DIRECTIVES

    return (start, len(content)) if name in TITLE_DIRECTIVES | ARGUMENT_IS_CONTENT else NO_WORDS


def _find_line_text(directive: _Directive, content: str, indent: int) -> Span | None:
    """Return the span of a line in a directive that stands alone; None for a line of prose."""
    from llmcli.documents.formats.markup.rst_format import TEXT_OPTIONS

    if directive.in_yaml or (content == _YAML_BORDER and len(directive.lines) == 1):
        directive.in_yaml = content != _YAML_BORDER or not directive.in_yaml
        directive.has_options = False
        return NO_WORDS
    option = _OPTION.match(content) if directive.has_options else None
    directive.has_options = option is not None
    if not directive.is_prose:
        return NO_WORDS
    if option is not None:
        return option.span("value") if option["name"] in TEXT_OPTIONS and option["value"] else NO_WORDS
    is_term = directive.name == "glossary" and content and indent == directive.indent
    return (0, len(content)) if is_term else None
