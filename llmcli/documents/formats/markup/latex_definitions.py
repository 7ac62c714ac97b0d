r"""The commands and environments that a LaTeX document defines, and which of their arguments are words of the text.

An argument is text if the body of the definition typesets it wherever it stands there, as in
``\newcommand{\important}[1]{\textbf{#1}}``. Source: "LaTeX2e: An unofficial reference manual", and xparse's
documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from llmcli.fast_dataclass import frozen

TEXT, CODE, UNKNOWN = "text", "code", "unknown"
"""The roles of an argument: words of the text, no words, or something of which the definition does not say what it
is."""
_KNOWN_ROLES: dict[str, tuple[str, ...]] = {
    "texorpdfstring": (TEXT, TEXT), "cvitem": (TEXT, TEXT), "cventry": (TEXT,) * 6, "cvitemwithcomment": (TEXT,) * 3, "cvlistitem": (TEXT,),
    "foreigntextquote": (CODE, CODE), "foreignquote": (CODE, CODE),
}  # fmt: skip
"""Commands of packages with several texts."""
_OPTION = r"\[(?:[^\[\]{}]|\{[^{}]*\}){0,200}\]"
_COMMAND = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?[ \t]*(?:\{[ \t]*\\(?P<braced>[A-Za-z@]+)[ \t]*\}|\\(?P<bare>[A-Za-z@]+))"
    rf"\s{{0,20}}(?:\[(?P<count>\d)\])?\s{{0,20}}(?P<default>{_OPTION})?(?:%[^\r\n]*)?\s{{0,20}}(?=\{{)"
)
_DOCUMENT_COMMAND = re.compile(
    r"\\(?:New|Renew|Provide|Declare)DocumentCommand[ \t]*\{?[ \t]*\\(?P<name>[A-Za-z@]+)[ \t]*\}?\s{0,20}"
    r"\{(?P<arguments>(?:[^{}]|\{[^{}]*\}){0,200})\}\s{0,20}(?=\{)"
)
_DEF = re.compile(r"\\(?:long[ \t]*\\)?[gex]?def[ \t]*\\(?P<name>[A-Za-z@]+)(?P<parameters>(?:#\d){0,9})(?=\{)")
_ENVIRONMENT = re.compile(
    rf"\\(?:re)?newenvironment\*?[ \t]*\{{(?P<name>[^{{}}\\\r\n]{{1,60}})\}}\s{{0,20}}(?:\[(?P<count>\d)\])?(?P<default>{_OPTION})?"
    r"\s{0,20}(?=\{)"
)
_ARGUMENT = re.compile(r"[a-zA-Z](?:\{[^{}]*\})?")
_HARMLESS = re.compile(r"\\(?:index|pdfbookmark|markboth|markright)(?:\[[^\[\]{}]*\])?(?:\{[^{}]*\})+")
"""Commands that repeat an argument elsewhere, where its translation may stand, too."""
_MAX_BODY_CHARS = 2000
_MAX_DEPTH = 10
"""Definitions that use each other."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_PHRASE = re.compile(r"[^\W\d_]{2,}[,\s]\s*[a-z]{2,}")
"""What is more than a name that a command stands for."""

ReadBody = Callable[[str], tuple[str, str]]
"""Returns the words that a text typesets, and the arguments of commands in it that are not known."""


@frozen
class _Definition:
    """The body of a definition, and the numbers of the arguments in braces."""

    body: str
    arguments: tuple[int, ...]


class LatexDefinitions:
    """The definitions of a document; ``closers``: where each of its groups ends."""

    def __init__(self, text: str, closers: Mapping[int, int], read_body: ReadBody) -> None:
        self._found = dict(_find_definitions(text, closers))
        self._read_body = read_body
        self._roles: dict[str, tuple[str, ...]] = {}
        self._depth = 0
        self.with_words: dict[str, None] = {}
        """The names of those whose bodies have words of their own, as far as roles were asked for."""

    def roles(self, name: str) -> tuple[str, ...] | None:
        """Return the roles of the arguments of a command, or an environment in braces ("{box}").

        It is None if it is not known.
        """
        if name not in self._found:
            return _KNOWN_ROLES.get(name)
        if name not in self._roles:
            definition = self._found[name]
            self._roles[name] = (UNKNOWN,) * len(definition.arguments)  # if it uses itself
            if self._depth < _MAX_DEPTH and len(definition.body) <= _MAX_BODY_CHARS:
                self._depth += 1
                self._roles[name] = self._find_roles(name, definition)
                self._depth -= 1
        return self._roles[name]

    def _find_roles(self, name: str, definition: _Definition) -> tuple[str, ...]:
        body = _HARMLESS.sub("", definition.body)
        marks = {number: f"Qqq{chr(ord('a') + number)}qqQ" for number in definition.arguments}
        typeset, unknown = self._read_body(re.sub(r"#(\d)", lambda match: marks.get(int(match[1]), match[0]), body))
        if (_WORD if marks else _PHRASE).search(re.sub("Qqq[a-j]qqQ", "", typeset)):
            self.with_words[name] = None
        roles = []
        for number, mark in marks.items():
            times = typeset.count(mark)
            if times and times == body.count(f"#{number}"):
                roles.append(TEXT)
            else:
                roles.append(UNKNOWN if times or mark in unknown else CODE)
        return tuple(roles)


def _find_definitions(text: str, closers: Mapping[int, int]) -> Iterator[tuple[str, _Definition]]:
    """Yield the names and definitions of commands and environments; those in comments are in no group."""
    for pattern in (_COMMAND, _ENVIRONMENT):
        for match in pattern.finditer(text):
            first = 2 if match["default"] else 1
            numbers = tuple(range(first, int(match["count"] or 0) + 1))
            if match.end() in closers:
                name = f"{{{match['name']}}}" if pattern is _ENVIRONMENT else match["braced"] or match["bare"]
                yield name, _Definition(text[match.end() + 1 : closers[match.end()]], numbers)
    for match in _DOCUMENT_COMMAND.finditer(text):
        kinds = [each[0] for each in _ARGUMENT.findall(match["arguments"])]
        if match.end() in closers:
            body = text[match.end() + 1 : closers[match.end()]]
            yield match["name"], _Definition(body, tuple(index for index, kind in enumerate(kinds, 1) if kind in "mr"))
    for match in _DEF.finditer(text):
        if match.end() in closers:
            numbers = tuple(range(1, len(match["parameters"]) // 2 + 1))
            yield match["name"], _Definition(text[match.end() + 1 : closers[match.end()]], numbers)
