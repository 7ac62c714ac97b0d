"""PPTX: the text of each slide with its title, tables and speaker notes (ISO/IEC 29500, PresentationML)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.section_builder import format_row
from llmcli.documents.reading.sources.zip_package import ZipPackage, parse_xml

_PRESENTATION = "ppt/presentation.xml"
_TITLES = frozenset({"title", "ctrTitle"})
_NOT_CONTENT = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})  # placeholders: number, date, footer, header, image


def read_pptx(data: bytes, name: str) -> Iterator[Section]:
    """Yield a section for each slide with text; ``page`` is the number of the slide. Raises ``BadDocument``."""
    del name
    package = ZipPackage(data)
    targets = _relations(package, _PRESENTATION)
    root = parse_xml(package.read(_PRESENTATION), _PRESENTATION)
    for number, entry in enumerate(root.iterfind("sldIdLst/sldId"), 1):
        part = next((targets[value] for key, value in entry.items() if key.endswith("}id") and value in targets), None)
        if part is not None:
            yield _read_slide(package, part[1], number)


def _read_slide(package: ZipPackage, part: str, number: int) -> Section:
    title, blocks = _shape_texts(parse_xml(package.read(part), part))
    if title:
        blocks.insert(0, f"# {title}")
    for kind, target in _relations(package, part).values():
        if kind == "notesSlide":
            _, notes = _shape_texts(parse_xml(package.read(target), target))
            if notes:
                blocks.append("Notes: " + "\n".join(notes))
    return Section("\n\n".join(blocks), (title,) if title else (), number)


def _relations(package: ZipPackage, part: str) -> dict[str, tuple[str, str]]:
    """Return for each relation of a part its kind (the last word of its type) and the part that it leads to."""
    folder, _, file = part.rpartition("/")
    name = f"{folder}/_rels/{file}.rels"
    if name not in package.names:
        return {}
    found = {}
    for each in parse_xml(package.read(name), name).iter("Relationship"):
        if each.get("TargetMode") != "External":
            target = unquote(each.get("Target", ""))
            path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[each.get("Id", "")] = (each.get("Type", "").rpartition("/")[2], path)
    return found


def _shape_texts(root: Element) -> tuple[str, list[str]]:
    """Return the title of a slide, "" if it has none, and the texts of its other shapes and tables."""
    title, blocks = "", []
    for shape in root.iter():
        if shape.tag == "sp":
            placeholder = shape.find("nvSpPr/nvPr/ph")
            kind = "" if placeholder is None else placeholder.get("type", "")
            text = "\n".join(_paragraphs(shape))
            if kind in _TITLES and not title:
                title = " ".join(text.split())
            elif text and kind not in _NOT_CONTENT:
                blocks.append(text)
        elif shape.tag == "tbl":
            rows = [[" ".join(_paragraphs(cell)) for cell in row.iterfind("tc")] for row in shape.iterfind("tr")]
            blocks.append("\n".join(map(format_row, rows)))
    return title, blocks


def _paragraphs(shape: Element) -> Iterator[str]:
    for paragraph in shape.iterfind(".//p"):
        text = "".join(
            "\n" if each.tag == "br" else each.text or "" for each in paragraph.iter() if each.tag in {"t", "br"}
        )
        if text.strip():
            yield text
