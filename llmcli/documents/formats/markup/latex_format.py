r"""LaTeX: the prose of the body, with titles, captions, items, cells and footnotes; of the preamble, the title.

A paragraph reaches from one boundary to the next: a blank line, a title, an item, an environment. Math, code,
references and all commands that are not known to hold words are protected. A command that has words is a pair of tags
for a translator; so is one of which the document's own definition shows that. Source: "LaTeX2e: An unofficial reference
manual", beamer's user guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.markup.latex_commands import (
    BLOCK_COMMANDS,
    BOUNDARY_COMMANDS,
    CAPTION_OPTION,
    DEFINITION_COMMANDS,
    HEADING_COMMANDS,
    INLINE_COMMANDS,
    LIST_ENVIRONMENTS,
    MATH_ENVIRONMENT,
    OPTION_TITLED_ENVIRONMENTS,
    PREAMBLE_COMMANDS,
    PRIMITIVE_DEFINITION,
    SWITCH_COMMANDS,
    TABLE_ENVIRONMENT,
    THEOREM_DECLARATION,
    TITLED_ENVIRONMENTS,
    TRIMMED_COMMANDS,
    WORDLESS_COMMANDS,
    WORDS_IN_MATH,
    may_be_words,
)
from llmcli.documents.formats.markup.latex_definitions import CODE, TEXT, UNKNOWN, LatexDefinitions
from llmcli.documents.formats.markup.latex_layout import LatexLayout, encode_latex
from llmcli.documents.formats.markup.latex_structure import (
    LatexGroup,
    LatexPiece,
    LatexStructure,
    read_structure,
    trim_pieces,
)
from llmcli.documents.formats.markup.latex_text import LIGATURES, read_character, read_named_character, write_words
from llmcli.documents.formats.markup.markup_text import MarkupPart, join_parts
from llmcli.documents.segments import Segment, has_letters
from llmcli.documents.text_cleaning import detect_newline
from llmcli.fast_dataclass import replace

_TOKEN = re.compile(
    r"(?P<words>[^\\%$&{}~`'\-?!\]\r\n#]++)|(?P<comment>%[^\r\n]*+(?:(?>\r\n|\r|\n)[ \t]*+)?+)"
    r"|(?P<paragraph>(?>\r\n|\r|\n)[ \t]*+(?>\r\n|\r|\n)\s*+)|(?P<line>(?>\r\n|\r|\n)[ \t]*+)|(?P<command>\\(?:[A-Za-z@]++\*?|(?s:.)|\Z))"
    r"|(?P<math>\$\$(?:[^$\\]|\\.|\$(?!\$))*+\$\$|\$(?:[^$\\\n]|\\.|\n(?![ \t]*\n))++\$)|(?P<parameter>\#+\d?)"
    r"|(?P<ligature>``|''|---?|[?!]?`|~)|(?P<sign>[\s\S])",
    re.DOTALL,
)
_BLANKS = re.compile(r"[ \t]*(?:(?>\r\n|\r|\n)[ \t]*(?![ \t\r\n]))?")
_ENVIRONMENT = re.compile(r"[ \t]*\{(?P<name>[^{}\\\r\n]{1,100})\}")
_OVERLAY = re.compile(r"<[^<>\r\n]{1,60}>")
_OPTION_END = re.compile(r"[\]{\\%]|(?>\r\n|\r|\n)[ \t]*(?>\r\n|\r|\n)")
_MAX_OPTION_CHARS = 500
_TYPEWRITER = re.compile(r"\{[ \t]*\\(?:tt|ttfamily)(?![A-Za-z])")
_SWITCH = re.compile(r"\{[ \t]*\\(?:bf|it|em|sl|sc|sf|bfseries|itshape|slshape|scshape|sffamily)(?![A-Za-z])[ \t]*")
_DELIMITED = re.compile(
    r"(?:\[[^\]\r\n]{0,200}\])?(?:\{[^{}\r\n]{0,60}\}(?=[^\s]))?(?P<sign>[^A-Za-z\s*{\[])[^\r\n]*?(?P=sign)"
)
_MAX_NAMED_COMMANDS = 10
_KINDS = frozenset({"control", "url", "email"})
_MAX_PATH_HEADINGS = 7


class LatexFormat(DocumentFormat):
    """LaTeX."""

    name = "latex"

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the paragraphs, titles, captions, items and cells of the body, and the title."""
        del target
        return _Reader(text).read()

    def check(self, text: str) -> str:
        """Check that each group and environment of the body ends."""
        return read_structure(text).problem

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence about commands whose arguments may be words, and one about definitions with words."""
        reader = _Reader(text)
        reader.read()
        found = []
        if reader.left:
            found.append(f"the words in arguments of these commands are not translated: {_list_names(reader.left)}")
        if reader.definitions.with_words:
            named = _list_names(reader.definitions.with_words)
            found.append(f"the words in the definitions of these commands are not translated: {named}")
        if reader.has_words_in_math:
            found.append("the words in formulas (\\text) are not translated")
        return found

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: a blank line between paragraphs, else a slash."""
        return detect_newline(text) * 2 if segment.kind == "paragraph" else " / "


def _list_names(names: Iterable[str]) -> str:
    shown = [name if name.startswith("{") else f"\\{name}" for name in names]
    more = len(shown) - _MAX_NAMED_COMMANDS
    return ", ".join(shown[:_MAX_NAMED_COMMANDS]) + (f" and {more} more" if more > 0 else "")


class _Reader:
    """A pass over a document, or over the body of one of its ``definitions``; ``_run`` is the paragraph that it is in.

    ``left`` are the commands whose arguments may be words, and these arguments.
    """

    def __init__(self, text: str, definitions: LatexDefinitions | None = None) -> None:
        self._text = text
        self._structure: LatexStructure = read_structure(text)
        self.definitions = definitions or LatexDefinitions(text, self._structure.closers, self._read_body)
        self.left: dict[str, list[str]] = {}
        self.has_words_in_math = False
        self._theorems = {match["name"].rstrip("*") for match in THEOREM_DECLARATION.finditer(text)}
        self._newline = detect_newline(text)
        self._segments: list[Segment] = []
        self._headings: list[tuple[int, str]] = []
        self._groups: list[LatexGroup] = []
        self._blocks: list[LatexGroup] = []
        """Those of the open groups whose texts have a kind."""
        self._environments: list[str] = []
        self._run: list[LatexPiece] = []
        self._run_number = 0
        self._at = int(text.startswith("\ufeff"))
        self._missing: set[str] = set()

    def read(self) -> list[Segment]:
        """Return the segments in order."""
        while self._at < len(self._text):
            match = _TOKEN.match(self._text, self._at)
            if match is None or match.lastgroup is None:
                break
            self._at = match.end()
            if not self._read_token(match):
                break
        self._flush()
        return self._segments

    def _read_body(self, body: str) -> tuple[str, str]:
        """Read the body of a definition, as ``ReadBody``."""
        reader = _Reader(body, self.definitions)
        typeset = []
        for segment in reader.read():
            at = 0
            for span in segment.protected:
                typeset.append(segment.text[at : span.start])
                at = span.end
            typeset.append(segment.text[at:])
        return "\n".join(typeset), "\n".join(argument for left in reader.left.values() for argument in left)

    @property
    def _is_read(self) -> bool:
        """Whether words count here: in the body, and in some commands of the preamble."""
        return self._at > self._structure.body or bool(self._blocks)

    def _read_token(self, match: re.Match[str]) -> bool:
        """Read what matched; return whether there is more to read."""
        kind, word, start = match.lastgroup, match[0], match.start()
        if kind == "command":
            return self._read_command(start, word[1:])
        if kind == "comment":
            self._read_comment(start, word)
        elif kind == "paragraph":
            self._flush()
        elif kind == "math":
            self._add(MarkupPart(word, "math"), start, is_trimmed=word.startswith("$$"))
        elif kind == "ligature":
            self._add(MarkupPart(LIGATURES[word]), start)
        elif word in "{}]&":
            self._read_sign(start, word)
        elif kind == "parameter" or word == "$":
            self._add(MarkupPart(word, "code"), start)
        else:
            self._add(MarkupPart(" " if kind == "line" else word), start)
        return True

    def _add(self, part: MarkupPart, start: int, *, is_trimmed: bool = False) -> None:
        """Add a part of the paragraph; it ends where the pass is."""
        if self._is_read:
            self.has_words_in_math |= part.kind == "math" and WORDS_IN_MATH.search(part.text) is not None
            self._run.append(LatexPiece(part, start, self._at, is_trimmed))

    def _add_code(self, start: int, *, is_trimmed: bool = False) -> None:
        self._add(MarkupPart(self._text[start : self._at], "code"), start, is_trimmed=is_trimmed)

    def _read_comment(self, start: int, word: str) -> None:
        """Read a comment: one on a line of its own is between paragraphs, one behind words is part of them."""
        before = start - 1
        while before >= 0 and self._text[before] in " \t":
            before -= 1
        if not self._run or self._text[before] in "\r\n" or self._text.startswith(("\r", "\n"), self._at):
            self._flush()
            return
        comment = word.rstrip()
        self._add(MarkupPart(comment, "code"), start, is_trimmed=True)
        if self._text[start - 1] in " \t":
            self._add(MarkupPart(" "), start)

    def _read_sign(self, start: int, sign: str) -> None:
        """Read a brace, a bracket, or the sign between the cells of a table."""
        while self._groups and self._groups[-1].close < start:  # skipped with an environment
            if self._groups.pop().kind:
                self._blocks.pop()
        if sign == "&" and self._is_table:
            self._flush()
        elif sign == "&":
            self._add(MarkupPart(sign, "code"), start)
        elif self._groups and self._groups[-1].close == start:
            self._close_group(start)
        elif sign == "{" and start in self._structure.closers:
            self._read_group(start, self._structure.closers[start])
        elif sign == "]":
            self._add(MarkupPart(sign), start)
        else:
            self._add_code(start, is_trimmed=True)

    def _read_group(self, start: int, close: int) -> None:
        """Read a group in braces; a command for its font at its beginning is part of its tag."""
        if _TYPEWRITER.match(self._text, start):
            self._at = close + 1
            self._add_code(start)
            return
        switch = _SWITCH.match(self._text, start)
        self._at = switch.end() if switch else self._at
        self._open_inline(start, close)

    # ---- groups -----------------------------------------------------------------------------------------------------

    def _open_inline(self, start: int, close: int) -> None:
        """Open a group in a sentence; it becomes a pair of tags if the paragraph goes on until its end."""
        self._groups.append(LatexGroup(close, self._run_number, len(self._run)))
        self._add_code(start, is_trimmed=True)

    def _open_block(self, close: int, kind: str, level: int = -1, following: str = "") -> None:
        """Open a group whose texts stand for themselves."""
        self._flush()
        group = LatexGroup(close, kind=kind, level=level, following=following)
        self._groups.append(group)
        self._blocks.append(group)

    def _close_group(self, start: int) -> None:
        group = self._groups.pop()
        if group.kind:
            self._close_block(group)
        elif group.run != self._run_number or group.index >= len(self._run):
            self._at = max(group.last, self._at)
            self._add_code(start, is_trimmed=True)
        elif group.arguments:
            self._at, *rest = group.arguments
            self._groups.append(replace(group, close=self._structure.closers[self._at - 1], arguments=tuple(rest)))
            self._add(MarkupPart(self._text[start : self._at], "tag"), start)
        else:
            self._close_inline(start, group)

    def _close_block(self, group: LatexGroup) -> None:
        """End a group whose texts stand for themselves; the one behind an option begins."""
        self._flush()
        self._blocks.pop()
        self._at = max(group.last, self._at)
        if group.following and (brace := self._opening_brace(self._at)) is not None:
            self._at = brace + 1
            self._open_block(self._structure.closers[brace], group.following, group.level)

    def _close_inline(self, start: int, group: LatexGroup) -> None:
        """End a group in a sentence: its beginning and its end become a pair of tags."""
        self._at = max(group.last, self._at)
        opening = self._run[group.index]
        written = opening.part.written
        name = re.fullmatch(r"\\([A-Za-z]+)[ \t]*\{|\{(?:[ \t]*\\([a-z]+)[ \t]*)?", written)
        if group.last:
            name = re.match(r"\\([A-Za-z]+)()", written)
        tag = (name[1] or name[2] or "group") if name else ""
        opening.is_trimmed = False
        opening.part = MarkupPart(f"<{tag}>", "tag", written) if tag else MarkupPart(written, "link", written)
        end = self._text[start : self._at]
        closing = MarkupPart(f"</{tag}>", "tag", end) if tag else MarkupPart("</a>", "target", end)
        self._add(closing, start)

    def _opening_brace(self, at: int) -> int | None:
        """Return where the brace of a command's argument is, blanks before it."""
        found = _BLANKS.match(self._text, at)
        opening = found.end() if found else at
        return opening if opening in self._structure.closers else None

    def _option_end(self, at: int) -> int | None:
        """Return where the bracket is that closes the one at an offset, braces between them."""
        at += 1
        last = at + _MAX_OPTION_CHARS
        while (match := _OPTION_END.search(self._text, at, last)) and match[0] != "]":
            if match[0] == "{" and match.start() in self._structure.closers:
                at = self._structure.closers[match.start()] + 1
            elif match[0] in "\\%":
                at = match.end() + 1
            else:
                return None
        return match.start() if match else None

    def _skip_overlay(self) -> None:
        """Go on behind the slides of a presentation on which something is shown: "<2->"."""
        overlay = _OVERLAY.match(self._text, self._at)
        self._at = overlay.end() if overlay else self._at

    def _skip_arguments(self, at: int, *, count: int = -1, blanks: bool = False) -> int:
        """Return the end of the arguments and options at an offset; ``count``: of arguments at most."""
        while True:
            found = _BLANKS.match(self._text, at) if blanks else None
            start = found.end() if found else at
            if count and self._text.startswith("{", start) and start in self._structure.closers:
                at = self._structure.closers[start] + 1
                count -= 1
            elif self._text.startswith("[", start) and (end := self._option_end(start)) is not None:
                at = end + 1
            else:
                return at

    # ---- commands ---------------------------------------------------------------------------------------------------

    def _read_command(self, start: int, name: str) -> bool:
        """Read a command; return whether there is more to read."""
        base = name.rstrip("*")
        if base == "end" and self._text.startswith("{document}", self._at):
            return False
        if len(base) <= 1 and not base.isalpha():
            self._read_symbol(start)
        elif base in {"begin", "end"}:
            self._read_environment(start, base)
        elif base == "item":
            self._flush()
            self._skip_overlay()
            self._open_option("item", "")
        elif base in HEADING_COMMANDS or base in BLOCK_COMMANDS:
            self._read_block_command(start, base)
        elif base in INLINE_COMMANDS:
            self._read_inline_command(start, base)
        else:
            self._read_other_command(start, base)
        return True

    def _read_symbol(self, start: int) -> None:
        """Read a command of one sign."""
        text = self._text
        sign = text[start + 1 : start + 2]
        if sign == "\\":
            if text.startswith("*", self._at):
                self._at += 1
            end = self._option_end(self._at) if text.startswith("[", self._at) else None
            self._at = end + 1 if end is not None else self._at
            if self._is_table:
                self._flush()
            else:
                self._add(MarkupPart(text[start : self._at], "break"), start, is_trimmed=True)
        elif sign in {"(", "["}:
            closer = {"(": "\\)", "[": "\\]"}[sign]
            end = -1 if closer in self._missing else text.find(closer, self._at)
            if end < 0:
                self._missing.add(closer)
                self._add_code(start)
                return
            self._at = end + 2
            self._add(MarkupPart(text[start : self._at], "math"), start, is_trimmed=sign == "[")
        elif found := read_character(text, start):
            self._at = found[0]
            self._add(MarkupPart(found[1]), start)
        else:
            self._add_code(start, is_trimmed=not sign)

    def _read_environment(self, start: int, which: str) -> None:
        """Read the beginning or the end of an environment."""
        found = _ENVIRONMENT.match(self._text, self._at)
        if found is None:
            self._add_code(start)
            return
        self._at, name = found.end(), found["name"]
        if which == "begin" and (name in self._structure.verbatim or MATH_ENVIRONMENT.match(name)):
            self._read_verbatim(start, name)
            return
        self._flush()
        if which == "end":
            if name in self._environments[-1:]:
                self._environments.pop()
        else:
            self._begin_environment(name)

    def _begin_environment(self, name: str) -> None:
        """Read the title and the arguments of an environment of text."""
        self._environments.append(name)
        self._skip_overlay()
        if OPTION_TITLED_ENVIRONMENTS.match(name) or name.rstrip("*") in self._theorems:
            self._open_option("attribute", "")
        elif name in TITLED_ENVIRONMENTS:
            self._at = self._skip_arguments(self._at, count=0)
            if self._text.startswith("{", self._at) and self._at in self._structure.closers:
                self._at += 1
                self._open_block(self._structure.closers[self._at - 1], "heading", HEADING_COMMANDS["frametitle"])
        elif name != "document":
            self._read_environment_arguments(name)

    def _read_verbatim(self, start: int, name: str) -> None:
        """Read an environment of code or math, of which a caption is translated."""
        closer = f"\\end{{{name}}}"
        end = -1 if closer in self._missing else self._text.find(closer, self._at)
        self._missing |= {closer} if end < 0 else set()
        last = end + len(closer) if end >= 0 else len(self._text)
        if MATH_ENVIRONMENT.match(name):
            self._at, word = last, self._text[start:last]
            self._add(MarkupPart(word, "math"), start, is_trimmed=True)
        elif not self._open_caption(last):
            self._flush()
            self._at = last

    def _read_environment_arguments(self, name: str) -> None:
        """Read the last argument of an environment if its definition shows that it is text; or a title."""
        roles, start = self.definitions.roles(f"{{{name}}}") or (), self._at
        if not roles and self._open_caption(self._skip_arguments(self._at)):
            return
        if roles[-1:] == (TEXT,):
            at = self._skip_arguments(self._at, count=len(roles) - 1)
            opening = self._opening_brace(at)
            if opening is not None:
                self._note_words(f"{{{name}}}", start, at, is_environment=True)
                self._at = opening + 1
                self._open_block(self._structure.closers[opening], "attribute")
                return
        self._at = self._skip_arguments(self._at)
        self._note_words(f"{{{name}}}", start, self._at, is_environment=True)

    def _open_caption(self, last: int) -> bool:
        """Read the words of a caption in the options of something that ends at ``last``, if there is one."""
        found = CAPTION_OPTION.match(self._text, self._at)
        if found is None or not self._is_read:
            return False
        self._at = found.start("words")
        self._open_block(found.end("words"), "attribute")
        self._groups[-1].last = last
        return True

    def _open_option(self, kind: str, following: str, level: int = -1) -> bool:
        """Read the words of an option, if there is one."""
        end = self._option_end(self._at) if self._text.startswith("[", self._at) else None
        if end is None:
            return False
        self._at += 1
        self._open_block(end, kind, level, following)
        return True

    def _read_block_command(self, start: int, name: str) -> None:
        """Read a command whose words stand for themselves, with the short form of a title before them."""
        if self._at <= self._structure.body and name not in PREAMBLE_COMMANDS:
            self._at = self._skip_arguments(self._at)
            return
        self._flush()
        kind, level = ("heading", HEADING_COMMANDS[name]) if name in HEADING_COMMANDS else ("attribute", -1)
        self._skip_overlay()
        before = BLOCK_COMMANDS.get(name, 0)
        if before:
            self._at = self._skip_arguments(self._at, count=before)
        elif (
            name in HEADING_COMMANDS or name in {"title", "caption", "subfloat", "subfigure", "subtable"}
        ) and self._open_option("attribute", kind, level):
            return
        self._at = self._skip_arguments(self._at, count=0)
        opening = self._opening_brace(self._at)
        if opening is not None:
            self._at = opening + 1
            self._open_block(self._structure.closers[opening], kind, level)
        else:
            self._add_code(start, is_trimmed=True)

    def _read_inline_command(self, start: int, name: str) -> None:
        """Read a command whose words are part of a sentence."""
        self._skip_overlay()
        at = self._skip_arguments(self._at, count=INLINE_COMMANDS[name])
        opening = self._opening_brace(at)
        if opening is None:
            self._at = at
            self._add_code(start)
            return
        self._at = opening + 1
        self._open_inline(start, self._structure.closers[opening])

    def _read_other_command(self, start: int, name: str) -> None:
        accent = read_character(self._text, start) if len(name) == 1 else None
        character = accent or read_named_character(self._text, name, self._at)
        if character:
            self._at = character[0]
            self._add(MarkupPart(character[1]), start)
        elif name in SWITCH_COMMANDS:
            self._add_code(start, is_trimmed=True)
        elif definition := PRIMITIVE_DEFINITION.match(self._text, start):
            self._flush()
            self._at = self._skip_arguments(definition.end(), count=1)
        elif name in {"verb", "lstinline", "mintinline"} and (code := _DELIMITED.match(self._text, self._at)):
            self._at = code.end()
            self._add_code(start)
        elif name in BOUNDARY_COMMANDS or name in DEFINITION_COMMANDS:
            self._read_boundary(name)
        elif TEXT in (self.definitions.roles(name) or ()) and self._is_read:
            self._read_defined_command(start, name)
        else:
            self._at = self._skip_arguments(self._at)
            if UNKNOWN in (self.definitions.roles(name) or (UNKNOWN,)) and not WORDLESS_COMMANDS.fullmatch(name):
                self._note_words(name, start + 1 + len(name), self._at)
            if self._text.startswith("\\ ", self._at) and self._text[self._at - 1].isalpha():
                self._at += 2
            self._add_code(start, is_trimmed=name in TRIMMED_COMMANDS)

    def _read_boundary(self, name: str) -> None:
        """Read a command between paragraphs: of some, a caption is translated."""
        last = self._skip_arguments(self._at, blanks=name in DEFINITION_COMMANDS)
        if name == "newtheorem":
            self._read_theorem()
        elif name not in {"lstinputlisting", "inputminted"} or not self._open_caption(last):
            self._flush()
            self._at = last

    def _read_theorem(self) -> None:
        """Read the caption that a declaration gives to the environments of a name."""
        self._flush()
        opening = self._opening_brace(self._skip_arguments(self._at, count=1))
        if opening is None:
            self._at = self._skip_arguments(self._at)
            return
        self._at, close = opening + 1, self._structure.closers[opening]
        self._open_block(close, "attribute")
        self._groups[-1].last = self._skip_arguments(close + 1, count=0)

    def _read_defined_command(self, start: int, name: str) -> None:
        """Read a command whose definition shows that some of its arguments are text, as a pair of tags."""
        texts: list[int] = []
        at = self._skip_arguments(self._at, count=0)
        for role in self.definitions.roles(name) or ():
            opening = self._opening_brace(at)
            if opening is None:
                break
            at = self._structure.closers[opening] + 1
            if role == TEXT:
                texts.append(opening + 1)
            elif role != CODE:
                self._note_words(name, opening, at)
        if not texts:
            self._at = at
            self._add_code(start)
            return
        self._at, *rest = texts
        self._open_inline(start, self._structure.closers[self._at - 1])
        self._groups[-1].arguments, self._groups[-1].last = tuple(rest), at

    def _note_words(self, name: str, start: int, end: int, *, is_environment: bool = False) -> None:
        """Note a command whose arguments may be words."""
        if start == end or not self._is_read or TABLE_ENVIRONMENT.match(name.strip("{}")):
            return
        for argument in re.findall(r"\{([^{}]*)", self._text[start:end]):
            if may_be_words(argument, is_environment=is_environment):
                self.left.setdefault(name, []).append(argument)

    # ---- texts ------------------------------------------------------------------------------------------------------

    @property
    def _is_table(self) -> bool:
        return bool(self._environments) and bool(TABLE_ENVIRONMENT.match(self._environments[-1]))

    def _flush(self) -> None:
        """End the paragraph."""
        pieces, self._run = self._run, []
        self._run_number += 1
        if trimmed := trim_pieces(pieces):
            self._add_segment(trimmed)

    def _add_segment(self, pieces: list[LatexPiece]) -> None:
        start, stop = pieces[0].start, pieces[-1].end
        region = self._text[start:stop]
        read = join_parts((piece.part for piece in pieces), _KINDS, partial(write_words, source=region))
        block = self._blocks[-1] if self._blocks else None
        is_definition = any(piece.part.kind == "code" and piece.part.text.startswith("#") for piece in pieces)
        if is_definition or read.text != read.text.strip() or not has_letters(read.text, read.spans):
            return
        kind = block.kind if block else "cell" if self._is_table else "paragraph"
        if kind == "paragraph" and self._environments and self._environments[-1] in LIST_ENVIRONMENTS:
            kind = "item"
        in_option = block is not None and self._text[block.close] == "]"
        layout = LatexLayout.of(self._text, start, region, self._newline, in_option=in_option)
        path = tuple(title for _, title in self._headings)[-_MAX_PATH_HEADINGS:]
        encode = partial(encode_latex, read=read, region=region, layout=layout)
        self._segments.append(Segment(start, stop, read.text, encode, read.spans, kind, path))
        if block and block.level >= 0:
            self._headings = [*(above for above in self._headings if above[0] < block.level), (block.level, read.text)]


FORMAT = LatexFormat()
