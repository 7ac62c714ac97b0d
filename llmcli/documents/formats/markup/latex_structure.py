"""The structure of a LaTeX document: its groups and environments, found once and in linear time.

Verbatim text and comments have no structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.documents.formats.markup.markup_text import MarkupPart
from llmcli.documents.text_lines import line_at
from llmcli.fast_dataclass import field, slotted

VERBATIM_ENVIRONMENTS = frozenset(
    {"verbatim", "verbatim*", "Verbatim", "Verbatim*", "BVerbatim", "LVerbatim", "lstlisting", "minted", "alltt", "comment", "filecontents",
     "filecontents*", "tikzpicture", "tikzcd", "pgfpicture", "circuitikz", "picture", "pspicture", "forest", "asy", "axis", "algorithm2e",
     "algorithmic", "tcblisting", "code", "Code", "CodeInput", "CodeOutput", "CodeChunk", "Sinput", "Soutput", "Schunk", "Shaded", "Highlighting", "luacode",
     "luacode*", "pycode", "sagesilent", "thebibliography", "prooftree", "spverbatim", "verbatimtab", "listing*", "ignore"}
)  # fmt: skip
"""Environments whose content is code, a drawing, or references."""
_RAW_ENVIRONMENTS = re.compile(
    r"erbatim|listing|minted|alltt|comment|filecontents|[Cc]ode|[SC]put|luacode|ignore|Highlighting"
)
"""Of those, the ones in which braces need not be balanced."""
_DECLARED_VERBATIM = re.compile(
    r"\\(?:lstnewenvironment|newminted(?:\[(?P<minted>[^\]\n]{1,60})\])?|DefineVerbatimEnvironment|newtcblisting|excludecomment)[ \t]*"
    r"\{(?P<name>[^{}\n]{1,60})\}"
)
_TOKEN = re.compile(
    r"%[^\r\n]*+|\\(?:verb\*?|lstinline(?:\[[^\]\n]{0,200}\])?)(?P<sign>[^A-Za-z\s*{\[])[^\r\n]*?(?P=sign)"
    r"|\\(?:url|path|nolinkurl|href)[ \t]*(?P<address>\{[^{}\\\r\n]{0,1000}+\})"
    r"|\\(?P<which>begin|end)[ \t]*\{(?P<name>[^{}\\\r\n]{1,100})\}|\\(?s:.)|(?P<brace>[{}])"
)
_OPTION = re.compile(r"[ \t]*\[(?:[^\[\]{}%\\]|\{(?:[^{}%]|\{[^{}%]*\})*\}){0,500}\]")
_DOCUMENT = re.compile(r"(?:\A|[\r\n])[^%\r\n]*\\begin[ \t]*\{document\}")
_SHOWN_CHARS = 30


@slotted
class LatexPiece:
    """A part of a paragraph, where it stands, and whether it is dropped at the paragraph's ends."""

    part: MarkupPart
    start: int
    end: int
    is_trimmed: bool = False


def trim_pieces(pieces: list[LatexPiece]) -> list[LatexPiece]:
    """Return the pieces of a paragraph without those that are dropped at its ends, and without blanks there."""
    first, last = 0, len(pieces)
    while first < last and (pieces[first].is_trimmed or not pieces[first].part.text.strip()):
        first += 1
    while first < last and (pieces[last - 1].is_trimmed or not pieces[last - 1].part.text.strip()):
        last -= 1
    if first < last and not pieces[first].part.kind:
        stripped = pieces[first].part.text.lstrip()
        pieces[first].start += len(pieces[first].part.text) - len(stripped)
        pieces[first].part = MarkupPart(stripped)
    if first < last and not pieces[last - 1].part.kind:
        stripped = pieces[last - 1].part.text.rstrip()
        pieces[last - 1].end -= len(pieces[last - 1].part.text) - len(stripped)
        pieces[last - 1].part = MarkupPart(stripped)
    return pieces[first:last]


@slotted
class LatexGroup:
    """An open group: where it ends, and what it is.

    ``run`` and ``index`` say which piece began it. ``kind``: of the texts in it, "" in a sentence. ``level``: of a
    title.
    ``following``: the kind of the group that comes behind an option. ``arguments``: where the texts of the same command
    begin that come behind it; ``last``: where the command ends, 0: with this group.
    """

    close: int
    run: int = -1
    index: int = -1
    kind: str = ""
    level: int = -1
    following: str = ""
    arguments: tuple[int, ...] = ()
    last: int = 0


@slotted
class LatexStructure:
    """Where each group ends by where it begins, the code environments, where the body begins, and the first problem."""

    closers: dict[int, int] = field(default_factory=dict)
    verbatim: frozenset[str] = VERBATIM_ENVIRONMENTS
    body: int = 0
    problem: str = ""


def read_structure(text: str) -> LatexStructure:
    """Read the groups and environments of a document."""
    found = LatexStructure(verbatim=VERBATIM_ENVIRONMENTS | _find_declared_verbatim(text))
    begin = _DOCUMENT.search(text)
    found.body = begin.end() if begin else 0
    _GroupReader(text, found).read()
    return found


def _find_declared_verbatim(text: str) -> frozenset[str]:
    r"""Return the names of the code environments that a document declares; \newminted{python} declares pythoncode."""
    found = set[str]()
    for match in _DECLARED_VERBATIM.finditer(text):
        found.add(match["minted"] or match["name"])
        if "newminted" in match[0]:
            found.add(f"{match['name']}code")
    return frozenset(found)


class _GroupReader:
    """A pass over the groups and environments of a text; the first thing wrong in the body is the problem."""

    def __init__(self, text: str, found: LatexStructure) -> None:
        self._text = text
        self._found = found
        self._opened: list[tuple[int, str]] = []  # where a group or an environment begins, and the name of the latter
        self._braces: list[int] = []  # the indices of the groups in it

    def read(self) -> None:
        """Read everything."""
        for match in self._tokens():
            if match["address"]:  # in it, a percent sign begins no comment
                self._found.closers[match.start("address")] = match.end() - 1
            elif match["brace"] == "{":
                self._braces.append(len(self._opened))
                self._opened.append((match.start(), ""))
            elif match["brace"] == "}":
                self._close_brace(match.start())
            elif match["which"] == "begin":
                self._opened.append((match.start(), match["name"]))
            elif match["which"] == "end" and match["name"] == "document":
                break
            elif match["which"] == "end":
                self._close_environment(match)
        for start, name in self._opened:
            if start >= self._found.body and name != "document":
                shown = self._text[start : start + _SHOWN_CHARS].splitlines()[0]
                self._report(start, f"it has no end: {shown}")

    def _tokens(self) -> Iterator[re.Match[str]]:
        """Yield the braces, the ends of environments and the escaped characters outside of verbatim text."""
        at, verbatim = 0, self._found.verbatim
        while match := _TOKEN.search(self._text, at):
            at = match.end()
            name = match["name"]
            is_raw = name in verbatim and (name not in VERBATIM_ENVIRONMENTS or _RAW_ENVIRONMENTS.search(name))
            if match["which"] != "begin" or not is_raw:
                yield match
                continue
            option = _OPTION.match(self._text, at)
            if option:  # with a caption
                yield from _TOKEN.finditer(self._text, at, option.end())
            end = self._text.find(f"\\end{{{name}}}", at)
            if end < 0:
                yield match
                return
            at = end + len(f"\\end{{{name}}}")

    def _close_brace(self, at: int) -> None:
        """Close the last open brace; environments that began behind it end elsewhere, as in a definition."""
        if not self._braces:
            self._report(at, "it closes nothing: }")
            return
        index = self._braces.pop()
        self._found.closers[self._opened[index][0]] = at
        del self._opened[index:]

    def _close_environment(self, match: re.Match[str]) -> None:
        last = self._opened[-1][1] if self._opened else ""
        if last == match["name"]:
            self._opened.pop()
        elif not self._braces:  # in a group, it may end what a definition began
            self._report(match.start(), f"it ends nothing: {match[0]}{f', but {last} is open' if last else ''}")

    def _report(self, at: int, words: str) -> None:
        if not self._found.problem and at >= self._found.body:
            self._found.problem = f"line {line_at(self._text, at)}: {words}"
