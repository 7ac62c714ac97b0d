"""The layout of a translated block of Markdown: wrapped like its source, and never mistaken for another block.

Dialects other than CommonMark have lines that are markup only on their own line. CommonMark reads them as words of a
paragraph. Joined with the lines around them they would no longer be an alert, a container or a definition.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import groupby

from llmcli.documents.formats.markup.markdown_inline import TAG, write_inline
from llmcli.documents.text_cleaning import BLANKS, collapse_whitespace
from llmcli.fast_dataclass import frozen

_BLANK, _LINE = "\ufdd0", "\ufdd1"
"""A blank and a line end in a protected text (Unicode noncharacters), so that no line is broken there."""
_TO_PLACEHOLDERS = str.maketrans({" ": _BLANK, "\n": _LINE})
_FROM_PLACEHOLDERS = str.maketrans({_BLANK: " ", _LINE: "\n"})
_MARKER = re.compile(r"(?:#{1,6}(?=\s|\Z)|>|[-+*](?=\s|\Z)|~~~|```|\+\+\+|:(?=[\s:])|=+\s*\Z|<(?=[A-Za-z/!?]))")
_THEMATIC_BREAK = re.compile(r"[-:|=_*+~ \t]+\Z")
_LIST_NUMBER = re.compile(r"\d{1,9}(?=[.)](?:\s|\Z))")
_DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.){0,1000}+\]:|\[[ xX]\](?=\s)")
_HASHES = re.compile(r"(?<!\S)#+\s*\Z")
_BLOCK_LIKE_STARTS = ("<", "$", ":", "|", "{%", "{{<", "{{%", "{:", "{.", "{#")
"""A protected text with one of these beginnings could start a block at the beginning of a line."""
_ZERO_WIDTH_SPACE = "\u200b"
_LONE_TAG = re.compile(r"<[^<>]*>\s*\Z")
_BLOCK_TAG = re.compile(
    r"<(?:/?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div"
    r"|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main"
    r"|menu|menuitem|nav|noframes|ol|optgroup|option|p|param|script|pre|style|textarea|search|section|summary|table"
    r"|tbody|td|tfoot|th|thead|title|tr|track|ul)(?:[\s/>\ufdd0\ufdd1]|\Z)|!--|\?|![A-Za-z]|!\[CDATA\[)",
    re.IGNORECASE,
)
_LINE_WITHOUT_TEXT = re.compile(
    r":{3,}.*"  # containers of Docusaurus, VitePress, Pandoc and MyST
    r"|::[A-Za-z][\w-]*(?:\{[^{}]*\})?"  # directives that are a line
    r"|\{:?[ \t]*[.#:][^{}]*\}|\{:[^{}]*\}"  # attributes of kramdown
    r"|\[\[?_?toc_?\]\]?|\$\{toc\}"
    r"|\([\w.:-]+\)=|\+{3}(?:[ \t]+\{.*\})?"  # targets and cells of MyST
    r"|/{3,}(?:[ \t]+[\w-]+(?=[ \t]*\Z)|[ \t]+(?:html|[\w-]*caption|define)[ \t]*\|.*)?"  # PyMdown's blocks
    rf"|(?-i:(?=</?[A-Z]){TAG})"  # components of MDX
    r"|;*-+8<-+[ \t]+['\"].*['\"]"  # PyMdown's snippets: files
    r"|(?-i:\\[A-Za-z]+\*?(?:\{[^{}\s]*\}|\[[^\[\]]*\])*)"  # LaTeX in Pandoc's Markdown
    r"|\{%(?:[^%]|%(?!\}))*%\}|\{\{[<%](?:[^{}])*[<%]?[>%]\}\}"  # tags of Liquid, shortcodes of Hugo
    r"|(?-i:(?:import|export)[ \t]+(?:[\w$*{},\t ]+[ \t]+from[ \t]+)?(?P<quote>['\"])[^'\"\s]+(?P=quote);?)"  # MDX
    r"|(?-i:export[ \t]+(?:const|let|var)[ \t]+[\w$]+[ \t]*=.*)",
    re.IGNORECASE,
)
_TITLED = re.compile(  # blocks and tabs of MkDocs
    r"(?:!!!|\?\?\?\+?)[ \t]*[\w-][\w \t-]*+(?:\"(?P<words>.*)\")?|===[!+]?[ \t]+\"(?P<tab>.*)\""
    r"|/{3,}[ \t]+[\w-]+[ \t]*\|[ \t]*(?P<block>\S.*)|::[A-Za-z][\w-]*\[(?P<label>[^\[\]]+)\](?:\{[^{}]*\})?"
)
# alerts, definitions, abbreviations, line blocks
_LEAD_MARKER = re.compile(r"\[![a-z][\w-]*\][+-]?(?:[ \t]+|\Z)|:[ \t]+|\*\[[^\[\]]+\]:[ \t]+|\|[ \t]+", re.IGNORECASE)


@frozen
class BlockLayout:
    """The form of a block: ``prefix`` of its lines after the first (None: one line only), ``width`` to wrap at.

    ``width`` 0: the lines of a translation are kept. ``shape``: "paragraph", "heading" (beginning with #), "cell" or
    "first cell" (of a row without a leading bar).
    """

    wanted: tuple[str, ...]
    references: Collection[str]
    prefix: str | None = None
    width: int = 0
    shape: str = "paragraph"
    newline: str = "\n"

    def encode(self, translation: str) -> str:
        """Return the text that a translation gets in the region of the block."""
        lines_stay = self.prefix is not None and not self.width
        parts = write_inline(translation.strip(), self.wanted, self.references, lines=lines_stay)
        lines: list[str] = []
        for broken, group in groupby(parts, key=_is_hard_break):
            run = list(group)
            if broken:
                if lines and self.prefix is not None:
                    lines[-1] += run[0][0].removesuffix("\n")
                continue
            words = "".join(text.translate(_TO_PLACEHOLDERS) if kept else text for text, kept in run)
            lines += self._wrap_block(words)
        if self.shape == "paragraph":
            lines = [escape_block_start(line, first=index == 0) for index, line in enumerate(lines)]
        text = " ".join(line.rstrip(BLANKS) for line in lines) if self.prefix is None else "\n".join(lines)
        text = self._escape_for_shape(text.translate(_FROM_PLACEHOLDERS))
        return text.replace("\n", self.newline + (self.prefix or "")) if "\n" in text else text

    def _wrap_block(self, words: str) -> list[str]:
        if self.prefix is None:
            return [line] if (line := collapse_whitespace(words).strip(BLANKS)) else []
        if not self.width:
            return [collapse_whitespace(line).strip(BLANKS) for line in words.split("\n") if line.strip(BLANKS)]
        return _wrap(list(filter(None, collapse_whitespace(words).strip(BLANKS).split(" "))), self.width)

    def _escape_for_shape(self, text: str) -> str:
        if self.shape == "heading":
            return _HASHES.sub(lambda match: "\\" + match.group(), text)
        if self.shape in {"cell", "first cell"}:
            text = escape_block_start(text, first=True) if self.shape == "first cell" else text
            text = text.replace("|", "\\|")
            return text + " " if text.endswith("\\") else text
        return text


def _is_hard_break(part: tuple[str, bool]) -> bool:
    """Whether a part is a hard break: two blanks or more, or a backslash, before a line end."""
    text, kept = part
    return kept and text.endswith("\n") and text.strip(" \n") in {"", "\\"}


def _wrap(words: list[str], width: int) -> list[str]:
    """Fill lines; no line begins with a word that could start a block."""
    lines: list[list[str]] = []
    length = 0
    for word in words:
        if lines and (length + 1 + len(word) <= width or word.startswith(_BLOCK_LIKE_STARTS)):
            lines[-1].append(word)
            length += 1 + len(word)
        else:
            lines.append([word])
            length = len(word)
    return [" ".join(line) for line in lines]


def escape_block_start(line: str, *, first: bool) -> str:
    """Return the line escaped so that it continues (or begins) a paragraph, and nothing else."""
    if line.startswith("[^") and (end := line.find("]:")) > 0 and "]" not in line[:end]:
        return f"{line[: end + 1]} {line[end + 1 :]}"
    if number := _LIST_NUMBER.match(line):
        return f"{number.group()}\\{line[number.end() :]}"
    if line.startswith(("<", "$$")) and _begins_block(line, first=first):
        return _ZERO_WIDTH_SPACE + line
    if standalone_text_span(line.translate(_FROM_PLACEHOLDERS).strip()):
        return "\\" + line
    if (
        _THEMATIC_BREAK.match(line)
        or (_MARKER.match(line) and not line.startswith("<"))
        or (first and _DEFINITION.match(line))
    ):
        return "\\" + line
    return line


def _begins_block(line: str, *, first: bool) -> bool:
    """Whether a line begins a block; a line after the first must be able to interrupt a paragraph."""
    return bool(line.startswith("$$") or _BLOCK_TAG.match(line) or (first and _LONE_TAG.match(line)))


def is_block_title(line: str) -> bool:
    """Whether a line begins a block or a tab of MkDocs, whose content is indented below it."""
    return line.startswith(("!!!", "???", "===")) and _TITLED.fullmatch(line) is not None


def standalone_text_span(line: str) -> tuple[int, int] | None:
    """Return the span of the words in a line that has to stand alone, None for a line of a paragraph.

    ``line`` has no blanks at its ends and is not empty. In a line of symbols only, both offsets are the same.
    """
    if _LINE_WITHOUT_TEXT.fullmatch(line):
        return 0, 0
    if titled := _TITLED.fullmatch(line):
        return titled.span(titled.lastgroup) if titled.lastgroup else (0, 0)
    lead = _LEAD_MARKER.match(line)
    return (lead.end(), len(line)) if lead else None
