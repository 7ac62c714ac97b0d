"""Jupyter notebooks as Markdown: the cells in order, with the text of their outputs.

As ``nbconvert --to markdown`` writes them, but for pictures, and with outputs in fences. Of an output in several types
Markdown is preferred, then plain text. Source: "The Notebook file format" (nbformat 3 and 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llmcli.documents.json_values import parse_json_at
from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.reading.passages import Section, split_text_passages
from llmcli.errors import BadDocument, BinaryInput, NotUtf8

_FENCE = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")
_TERMINAL_STYLE = re.compile(r"\x1b\[[0-9;]{0,40}[A-Za-z]")
_NO_CHARACTER = re.compile("[\\0\ud800-\udfff]")
_RAW_TYPES = frozenset({"", "text/markdown", "text/html"})
"""Types of raw cells that are written to Markdown; others are for LaTeX and the like."""
_HEADING_LEVELS = range(1, 7)
_VERSION_3_TYPES = {"text": "text/plain", "html": "text/html", "latex": "text/latex", "markdown": "text/markdown"}


def read_notebook(data: bytes, name: str) -> Iterator[Section]:
    """Yield the sections of a notebook by the headings of its Markdown. Raises ``BadDocument``."""
    try:
        text, _ = decode_utf8(data, name)
    except (BinaryInput, NotUtf8) as error:
        raise BadDocument(detail="it is not UTF-8") from error
    notebook = parse_json_at(text, 1)
    cells = _find_cells(notebook)
    language = _find_language(notebook)
    headings: list[tuple[int, str]] = []
    path: tuple[str, ...] = ()
    blocks: list[str] = []
    for cell in cells:
        for block, block_path in _cell_blocks(cell, language, headings):
            if block_path != path and blocks:
                yield Section("\n\n".join(blocks), path)
                blocks.clear()
            path = block_path
            blocks.append(block)
    yield Section("\n\n".join(blocks), path)


def _find_cells(notebook: Any) -> list[dict[str, Any]]:
    """Return the cells; version 3 of the format has them in worksheets."""
    sheets = notebook.get("worksheets", [notebook]) if isinstance(notebook, dict) else None
    if not isinstance(sheets, list) or not all(isinstance(sheet, dict) for sheet in sheets):
        raise BadDocument(detail="it is not a Jupyter notebook: it has no cells")
    cells = []
    for sheet in sheets:
        found = sheet.get("cells")
        if not isinstance(found, list):
            raise BadDocument(detail="it is not a Jupyter notebook: it has no cells")
        cells += found
    wrong = next((number for number, cell in enumerate(cells, 1) if not isinstance(cell, dict)), None)
    if wrong is not None:
        raise BadDocument(detail=f"the file is damaged: cell {wrong} is no object")
    return cells


def _find_language(notebook: dict[str, Any]) -> str:
    metadata = _as_object(notebook.get("metadata"))
    info, kernel = _as_object(metadata.get("language_info")), _as_object(metadata.get("kernelspec"))
    return _as_language(info.get("name") or kernel.get("language"))


def _as_language(value: Any) -> str:
    return value if isinstance(value, str) and _LANGUAGE.fullmatch(value) else ""


def _cell_blocks(
    cell: dict[str, Any], language: str, headings: list[tuple[int, str]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the Markdown of a cell, and the headings above each block; ``headings`` gets those of the cell."""
    kind = cell.get("cell_type")
    source = _join(cell.get("source", cell.get("input")))
    if kind == "heading":
        level = cell.get("level")
        marks = "#" * level if isinstance(level, int) and level in _HEADING_LEVELS else "#"
        source = f"{marks} {' '.join(source.split())}"
    if kind in {"markdown", "heading"}:
        for passage in split_text_passages("", source, markdown=True, headings=headings).passages:
            yield passage.text, passage.headings
        return
    path = tuple(title for _, title in headings)
    if kind == "raw":
        metadata = _as_object(cell.get("metadata"))
        if source.strip() and _join(metadata.get("raw_mimetype", metadata.get("format"))) in _RAW_TYPES:
            yield source.strip("\n"), path
    elif kind == "code":
        if source.strip():
            yield _fence(source, _as_language(cell.get("language")) or language), path
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            block = _output_text(_as_object(output))
            if block:
                yield block, path


def _output_text(output: dict[str, Any]) -> str:
    """Return an output as Markdown, "" for a picture and for one without text."""
    kind = output.get("output_type")
    if kind in {"error", "pyerr"}:
        traceback = output.get("traceback")
        lines = traceback if isinstance(traceback, list) and traceback else [_join(output.get("evalue"))]
        return _fence_output("\n".join(map(_join, lines)))
    if kind == "stream":
        return _fence_output(_join(output.get("text")))
    data = output.get("data")
    if not isinstance(data, dict):  # version 3 has the types beside the other fields
        data = {_VERSION_3_TYPES.get(name, f"image/{name}"): output[name] for name in _type_names(output)}
    if "text/markdown" in data:
        return _join(data["text/markdown"]).strip("\n")
    if any(name.startswith("image/") for name in data):
        return ""
    return _fence_output(_join(data.get("text/plain")))


def _type_names(output: dict[str, Any]) -> list[str]:
    return [name for name in output if name in {*_VERSION_3_TYPES, "png", "jpeg", "svg"}]


def _fence_output(text: str) -> str:
    """Return what a program wrote, as a terminal shows it: without colors, and the last state of a progress bar."""
    plain = _TERMINAL_STYLE.sub("", text)
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n"))
    shown = "\n".join(lines)
    return _fence(shown, "text") if shown.strip() else ""


def _fence(text: str, language: str) -> str:
    """Return text as a block of code; its fence is longer than all fences in it."""
    longest = max((len(match[1]) for match in _FENCE.finditer(text)), default=2)
    mark = "`" * (longest + 1)
    stripped = text.strip("\n")
    return f"{mark}{language}\n{stripped}\n{mark}"


def _join(value: Any) -> str:
    """Return a text, which may be a list of lines; "" for anything else."""
    text = "".join(each for each in value if isinstance(each, str)) if isinstance(value, list) else value
    return _NO_CHARACTER.sub("\ufffd", text) if isinstance(text, str) else ""


def _as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
