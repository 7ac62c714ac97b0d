"""Find secrets in tables: a column whose header names a secret, values of an INSERT, data of a Kubernetes secret."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from llmcli.redaction.innocent_values import is_placeholder, is_prose, is_status_word
from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex

_HEADER = re.compile(
    r"(?:(?:new|old|user|db|wifi|wi-fi|login|initial|temp(?:orary)?|current|admin|root|account|client|plain(?:text)?|smtp|mail|ftp|wlan|wpa|vpn|ilo|bmc|ssh|sql|root|app|service|router|start|initial)[ _-]?)?(?:pass(?:word|wort|wd|phrase|code)?|pwd|pw|psk|pin|kennwort"
    r"|schl\u00fcssel|mot de passe|contrase\u00f1a|contrasena|senha|wachtwoord|secret|api[ _-]?key|(?:access[ _-]?|api[ _-]?)?token|secret[ _-]?key|client[ _-]?secret|access[ _-]?key)"
)
_HEADER_WORDS = PrefilteredPattern(
    r"(?:pass|pwd|pw\b|psk|pin|kennwort|contrase|senha|wachtwoord|schl\u00fcssel|secret|key|token)[^\r\n]{0,200}",
    lowered=True,
)
_RULE = re.compile(r"[\s|+:=-]{3,400}")
_INSERT = PrefilteredPattern(
    r"insert\s{1,4}(?:ignore\s{1,4})?into\s{1,4}[\w.\"`\[\]]{1,80}\s{0,4}\((?P<columns>[^()]{1,400})\)\s{0,8}values\s{0,8}",
    lowered=True,
)
_COLUMN = re.compile(r"[\w ]*(?:pass|pwd|secret|token|api_?key|pin\b)\w*")
_TUPLE = re.compile(
    r"\s{0,20},?\s{0,20}\((?P<values>(?:[^()'\"]|'(?:[^'\r\n]|''){0,200}'|\"[^\"\r\n]{0,200}\"|\([^()]{0,200}\)){1,2000}?)\)"
)
_CELL = re.compile(r"(?:[^,'\"()]|'(?:[^'\r\n]|''){0,200}'|\"[^\"\r\n]{0,200}\"|\([^()]{0,200}\)){1,400}")
_SQL_STRING = re.compile(r"'(?P<v>(?:[^'\r\n]|''){1,200})'|\"(?P<d>[^\"\r\n]{1,200})\"")
_SECRET_KIND = re.compile(r"^kind:[ \t]{1,4}[\"']?secret[\"']?[ \t]{0,8}$", re.MULTILINE)
_DATA_LINE = re.compile(r"^[ \t]{1,12}[\w.-]{1,80}:[ \t]{1,4}[\"']?(?P<v>[^\s\"'|>#][^\r\n\"']{1,4000})", re.MULTILINE)
_HTML_TABLE = re.compile(r"<tr\b(?:(?!</table)[^<]|<(?!/table)){0,200000}")
_HTML_ROW = re.compile(r"<tr\b[^<]*(?:<(?!tr\b)[^<]*)*")
_HTML_CELL = re.compile(
    r"<t[hd]\b[^>]{0,200}>\s{0,80}(?:<(?:code|b|strong|kbd|tt|em|i|span|p)\b[^>]{0,100}>\s{0,8}){0,3}(?P<v>[^<]{0,200})"
)
_MAX_ROWS = 100_000
_MAX_LINE_CHARS = 2000


def find_columns(index: TextIndex) -> Iterator[Range]:
    """Yield the cells below a header such as "password": CSV, TSV, Markdown, tables of characters and of blanks."""
    text, lowered = index.text, index.lowered
    at = 0
    for word in _HEADER_WORDS.finditer(index):
        start = lowered.rfind("\n", max(0, word.start() - _MAX_LINE_CHARS), word.start()) + 1
        if start < at or word.start() - start > _MAX_LINE_CHARS:
            continue
        end = lowered.find("\n", word.start())
        if end < 0:
            return
        at = end
        if end - start > _MAX_LINE_CHARS:
            continue
        above = lowered[lowered.rfind("\n", max(0, start - _MAX_LINE_CHARS), start - 1) + 1 : start] if start else ""
        is_row = above.count("|") > 1 and lowered[start:end].count("|") > 1  # of labels and values
        found = None if is_row else _header(lowered[start:end].rstrip("\r"))
        if found is not None:
            at = yield from _rows(text, lowered, end + 1, *found)


def _header(line: str) -> tuple[str, int, int, int] | None:
    """Return the separator, the index of the column, the number of columns and the offset of the column."""
    for separator in ("|", "\t", ";", ","):
        cells = line.split(separator)
        if len(cells) > 1 and any(cell.strip() for cell in cells[1:]):
            for index, cell in enumerate(cells):
                if _HEADER.fullmatch(cell.strip(" \"'`*_")):
                    return separator, index, len(cells), 0
            if separator != ",":
                return None
    cells = re.split(r" {2,}", line.strip())
    if len(cells) > 1 and all(len(cell) < 30 for cell in cells):  # noqa: PLR2004 (a word or three)
        for index, cell in enumerate(cells):
            if _HEADER.fullmatch(cell):
                return "  ", index, len(cells), 0
    return None


def _rows(
    text: str, lowered: str, at: int, separator: str, column: int, columns: int, _: int
) -> Generator[Range, None, int]:
    """Yield the values of a column, and return where the table ends."""
    for row in range(_MAX_ROWS):
        end = lowered.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].rstrip("\r")
        if line.strip() and _RULE.fullmatch(line):
            pass
        elif not line.strip() or end - at > _MAX_LINE_CHARS:
            return at
        else:
            cells = _split(line, separator)
            if len(cells) != columns and (row == 0 or len(cells) < 2 or separator != "  "):  # noqa: PLR2004
                return at
            start, stop = cells[min(column, len(cells) - 1)] if len(cells) == columns else cells[-1]
            value = line[start:stop]
            trimmed = value.strip(" \"'`*")
            if trimmed and not (is_placeholder(trimmed) or is_prose(trimmed) or is_status_word(trimmed)):
                first = at + start + value.index(trimmed)
                yield first, first + len(trimmed)
        at = end + 1
        if at >= len(text):
            break
    return at


def _split(line: str, separator: str) -> list[Range]:
    if separator == "  ":
        return [match.span() for match in re.finditer(r"\S+(?: \S+)*", line)]
    if separator in ",;" and '"' in line:
        pattern = rf'(?:^|{separator})(?P<v>"(?:[^"]|""){{0,400}}"|[^{separator}"]{{0,400}})'
        return [match.span("v") for match in re.finditer(pattern, line)]
    spans, at = [], 0
    for cell in line.split(separator):
        spans.append((at, at + len(cell)))
        at += len(cell) + 1
    return spans


def find_html_cells(index: TextIndex) -> Iterator[Range]:
    """Yield the cells of a table in HTML below a header such as "password"."""
    text, lowered = index.text, index.lowered
    for table in _HTML_TABLE.finditer(lowered):
        columns: frozenset[int] = frozenset()
        for row in _HTML_ROW.finditer(lowered, *table.span()):
            cells = [cell.span("v") for cell in _HTML_CELL.finditer(lowered, *row.span())]
            headers = frozenset(
                number for number, cell in enumerate(cells) if _HEADER.fullmatch(lowered[slice(*cell)].strip())
            )
            columns = headers or columns
            for number in columns - headers:
                if number < len(cells) and (value := text[slice(*cells[number])].strip()):
                    first = cells[number][0] + text[slice(*cells[number])].index(value)
                    if not (is_placeholder(value) or is_prose(value) or is_status_word(value)):
                        yield first, first + len(value)


def find_inserted(index: TextIndex) -> Iterator[Range]:
    """Yield the values that an INSERT puts into a column for passwords."""
    text, lowered = index.text, index.lowered
    for insert in _INSERT.finditer(index):
        columns = [
            index
            for index, name in enumerate(insert["columns"].split(","))
            if _COLUMN.fullmatch(name.strip(' \t\r\n`"[]'))
        ]
        at = insert.end()
        while columns and (row := _TUPLE.match(lowered, at)):
            at = row.end()
            cells = [match.span() for match in _CELL.finditer(lowered, *row.span("values"))]
            for column in columns:
                if column < len(cells) and (string := _SQL_STRING.search(lowered, *cells[column])):
                    start, end = string.span(string.lastgroup or 0)
                    if not is_placeholder(text[start:end]):
                        yield start, end


def find_kubernetes_data(index: TextIndex) -> Iterator[Range]:
    """Yield the values of a Kubernetes secret."""
    text, lowered = index.text, index.lowered
    if _SECRET_KIND.search(lowered) is None:
        return
    end = 0
    for block in re.finditer(r"^(?:data|stringdata):[ \t]{0,8}\r?\n", lowered, re.MULTILINE):
        if block.start() < end:
            continue
        end = block.end()
        while line := _DATA_LINE.match(lowered, end):
            if not is_placeholder(text[slice(*line.span("v"))]):
                yield line.span("v")
            following = lowered.find("\n", line.end())
            if following < 0:
                return
            end = following + 1
