"""The files of an Office document (Office Open XML, ECMA-376), and the paragraphs in them.

Paragraphs are those of WordprocessingML (``w:p``), of DrawingML (``a:p``: slides, shapes, charts, diagrams) and the
strings of SpreadsheetML (``si``). People also read the alternative texts of pictures and tables, and the labels of
charts. A label is a copy of a cell: it stays where that does, since it would change when the chart is updated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

from llmcli.documents.formats.document_format import declared_language
from llmcli.documents.formats.packages.nested_regions import replace_with_references
from llmcli.documents.formats.packages.package_format import Facts, PackageFormat, Part, natural_order
from llmcli.documents.formats.packages.paragraph_items import (
    FIELD,
    Inline,
    Item,
    Piece,
    RangeEnd,
    Words,
    element_text,
    fold_ranges,
    make_group,
)
from llmcli.documents.formats.packages.run_text import RunSyntax
from llmcli.documents.formats.packages.xml_part import LABEL, XmlPart
from llmcli.documents.formats.xml_files.xml_elements import (
    XmlAttribute,
    XmlElement,
    escape_text,
    find_elements,
    plain_content,
)
from llmcli.documents.reading.sources.zip_package import ZipPackage, scan_xml
from llmcli.documents.segments import has_letters

_NAMESPACES = {
    **{
        f"{root}/{path}{last}": prefix
        for root, last in (("http://schemas.openxmlformats.org", "/2006/main"), ("http://purl.oclc.org/ooxml", "/main"))
        for path, prefix in (
            ("wordprocessingml", "w"),
            ("drawingml", "a"),
            ("presentationml", "p"),
            ("spreadsheetml", "x"),
        )
    },
    "urn:schemas-microsoft-com:vml": "v",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://purl.oclc.org/ooxml/drawingml/chart": "c",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments": "tc",
}
"""Namespaces, transitional and strict, and their usual prefixes."""
_GROUPS = frozenset({"w:hyperlink", "w:ins", "w:moveTo", "w:smartTag", "w:customXml", "w:dir", "w:bdo", "w:sdt"})
_RANGES = frozenset({"bookmark", "commentRange", "perm"})
"""The elements at both ends of a range: their names with "Start" and "End"."""
_DROPPED = frozenset(
    {"w:proofErr", "w:lastRenderedPageBreak", "w:pPr", "a:pPr", "a:endParaRPr", "x:phoneticPr", "x:rPh"}
)
"""Elements that say nothing about the words: what a spelling checker or a layout found, and the format of the
paragraph."""
_RUN_CONTENT = frozenset({"w:t", "a:t", "x:t", "w:ruby", "w:noBreakHyphen", "w:softHyphen", "w:fldChar", "w:instrText"})
"""What is read of a run; a run of other things is one thing."""
_IGNORED_PROPERTIES = frozenset({"w:lang", "w:noProof"})
_IGNORED_ATTRIBUTES = frozenset({"lang", "altLang", "dirty", "err", "noProof", "smtClean", "smtId", "bmk"})
_XSTRING = re.compile(r"_x([0-9A-Fa-f]{4})_")
_LIKE_XSTRING = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]")
_LANGUAGE_TAG = re.compile(r"<(?:\w+:)?(?:lang|themeFontLang|rPr|endParaRPr|defRPr)\s[^<>]*>")
_LANGUAGE = re.compile(r"((?:(?<!\w)|(?<=:))(?P<name>lang|val|eastAsia|bidi)=[\"'])(?P<value>[\w-]+)(?=[\"'])")
_EAST_ASIAN = frozenset({"ja", "zh", "yue", "ko"})
_COMPLEX = frozenset(
    {"ar", "he", "fa", "ur", "yi", "ug", "ps", "sd", "ckb", "hi", "bn", "ta", "te", "mr", "ne", "sa", "gu", "kn", "ml", "or", "pa", "as", "si", "th",
     "lo", "km", "my", "bo"}
)  # fmt: skip
"""Languages in what Word calls complex scripts."""
_FIELDS_WITH_TEXT = frozenset({"HYPERLINK", "TOC", "FORMTEXT"})
"""Fields whose result is text of the document. Word computes that of others again."""
_READ_VALUES = frozenset({"tblCaption", "tblDescription", "listEntry", "helpText", "statusText"})
"""Elements whose attribute ``val`` people read: of tables, and of the fields of a form."""
_CORE_PROPERTIES = "application/vnd.openxmlformats-package.core-properties+xml"
DRAWING_TYPES = (r".*(drawingml\.(chart|diagramData)|ms-office\.chartex)\+xml", r".*drawingml\.diagramDrawing\+xml")
DRAWING_NAMES = (r"(charts/chart(Ex)?|diagrams/data)\d*\.xml", r"diagrams/drawing\d*\.xml")
"""Charts and diagrams, with the picture of a diagram that has its texts again."""
_LABELS = frozenset({"strCache", "multiLvlStrCache", "dlblRangeCache", "strDim", "txData"})
"""What holds copies of cells with words in a chart."""
_LABEL_ROLES = {
    **dict.fromkeys(_LABELS, LABEL),
    **dict.fromkeys(("strLit", "tx", "trendline"), "attribute"),
    **dict.fromkeys(("numCache", "numLit", "numDim", "pivotSource", "chart", "chartSpace"), None),
}
"""The kinds of texts in elements of charts; "attribute" is a text of its own."""
_MAX_NAMED_CHARTS = 5
_PARAGRAPHS = frozenset({"w:p", "a:p", "x:si", "x:is", "x:text"})


def find_office_parts(package: ZipPackage, types: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the files whose content types match one of ``types``, in that order, then the core properties.

    ``names``: patterns of names in the place of types, for archives that do not say the types.
    """
    declared: dict[str, str] = {}

    def note(name: str, attributes: Mapping[str, str]) -> None:
        if name == "Override":
            declared[attributes.get("PartName", "").lstrip("/")] = attributes.get("ContentType", "")

    if "[Content_Types].xml" in package.names:
        scan_xml(package.read("[Content_Types].xml"), "[Content_Types].xml", note)
    found: dict[str, None] = {}
    present = sorted({name for name in package.names if name.isprintable()}, key=natural_order)
    for kind, pattern in zip([*types, re.escape(_CORE_PROPERTIES)], [*names, r"docProps/core\.xml"], strict=True):
        for name in present:
            if re.fullmatch(kind, declared[name]) if name in declared else re.fullmatch(pattern, name):
                found[name] = None
    return list(found)


def replace_run_languages(text: str, source: str, target: str) -> str:
    """Return a file whose runs and styles have the language ``target`` where they had ``source``.

    A spelling checker and the choice of fonts go by it. Word has a language for each kind of script: that of the
    target's is replaced, whatever it was, and so is that of Latin letters where the source's was. Of an unknown source,
    the language of Latin letters counts.
    """
    declared = re.compile(declared_language(source))
    deciding, written = {"val", "lang", _script_attribute(source)}, {"val", "lang", _script_attribute(target)}

    def change(tag: re.Match[str]) -> str:
        pairs = {match["name"]: match["value"] for match in _LANGUAGE.finditer(tag[0])}
        old = {name for name, value in pairs.items() if declared.fullmatch(value)}
        new = (written if old & deciding else set()) | (old if source else set())
        return _LANGUAGE.sub(lambda match: f"{match[1]}{target}" if match["name"] in new else match[0], tag[0])

    return _LANGUAGE_TAG.sub(change, text)


def _script_attribute(language: str) -> str:
    """Return the attribute in which Word has a language, by its script."""
    base = language.partition("-")[0]
    return "eastAsia" if base in _EAST_ASIAN else "bidi" if base in _COMPLEX else "val"


class OfficeFormat(PackageFormat):
    """A format of Office documents."""

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence about the charts whose labels come from workbooks that are not translated."""
        charts = [part.name for part in self.read_parts(text)[0] if _has_data_elsewhere(part) and _has_labels(part)]
        if not charts:
            return []
        what = f"{'a chart keeps' if len(charts) == 1 else f'{len(charts)} charts keep'} the names of series and categories"
        more = len(charts) - _MAX_NAMED_CHARTS
        shown = ", ".join(charts[:_MAX_NAMED_CHARTS]) + (f" and {more} more" if more > 0 else "")
        return [f"{what}, which come from a workbook in the document: {shown}"]

    def replace_part_language(self, part: Part, facts: Facts, source: str, target: str) -> str:
        """Return a file with another language of its runs, styles and properties."""
        text = super().replace_part_language(part, facts, source, target)
        return replace_run_languages(text, source, target)


def _has_data_elsewhere(part: Part) -> bool:
    return "externalData" in part.text and "/chart" in part.name


def _has_labels(part: Part) -> bool:
    return any(has_letters(plain_content(part.text, each)) for each in find_elements(part.text, "", _LABELS))


class OfficePart(XmlPart):
    """A file of an Office document."""

    namespaces = _NAMESPACES
    wanted = frozenset({"p", "docPr", "cNvPr", "tblCaption", "tblDescription", "listItem", "shape", "textpath"})
    plain: ClassVar[Mapping[str, str]] = {
        "dc:title": "heading",
        "dc:subject": "heading",
        **dict.fromkeys(("c:v", "c:name", "cx:v", "cx:pt"), LABEL),
    }

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self._has_data_elsewhere = _has_data_elsewhere(part)
        self._hidden_ids: set[str] = set()
        self._is_choice = False
        self._choices: set[int] = set()
        """Where the texts begin that were chosen from the list of a field: each is a text of its own, as is its
        entry."""

    def is_paragraph(self, element: XmlElement) -> bool:
        """Whether an element holds runs.

        The text that was chosen from a list is a text of its own, not of its sentence: it must be an entry of the list.
        """
        name = self.name_of(element)
        if name == "w:sdtContent" and _find_list(element.parent):
            return element.child("r") is not None
        return name in _PARAGRAPHS

    def is_skipped(self, element: XmlElement) -> bool:
        """Whether an element was deleted or moved with changes tracked, or has a value of a list as its text."""
        name = self.name_of(element)
        if name == "w:sdtContent" and (entries := _find_list(element.parent)):
            return plain_content(self.text, element) in _shown_values(entries)
        return name in {"w:del", "w:moveFrom"}

    def plain_kind(self, element: XmlElement) -> str | None:
        """Return the kind of a property of the document, a chosen text, or a text of a chart that is no number."""
        if element.start in self._choices:
            return "paragraph"
        kind = super().plain_kind(element)
        if kind != LABEL:
            return kind
        around = (_LABEL_ROLES[each.local_name] for each in element.lineage() if each.local_name in _LABEL_ROLES)
        kind = next(around, None)
        return None if kind == LABEL and self._has_data_elsewhere else kind

    def alternatives(self, element: XmlElement) -> list[XmlAttribute]:
        """Return the alternative texts of a picture or table, and the texts of a watermark, a control or a form."""
        name = element.local_name
        if name in {"docPr", "cNvPr"}:
            wanted = ["title", "descr"]
        elif name == "listItem":
            wanted = [f"{element.prefix}displayText"]
        elif name in _READ_VALUES or (name == "default" and _is_text_field(element.parent)):
            wanted = [f"{element.prefix}val"]
        else:
            wanted = {"v:shape": ["alt"], "v:textpath": ["string"]}.get(self.name_of(element), [])
        return [element.attributes[each] for each in wanted if each in element.attributes]

    def read_paragraph(self, paragraph: XmlElement) -> tuple[list[Item], RunSyntax]:
        """Return the items of a paragraph, and how its runs are written."""
        openings: dict[str, str] = {}
        items = self._read_items(paragraph.children, openings)
        mark = paragraph.child("pPr") or paragraph
        properties = mark.child("rPr") or mark.child("endParaRPr")
        base = None if properties is None else self._style(properties)
        prefix = paragraph.prefix
        is_cell = self.name_of(paragraph).startswith("x:")
        write = partial(_write_xstring if is_cell else _write_text, f"{prefix}t")
        return items, RunSyntax(openings, f"</{prefix}r>", write, base)

    def _read_items(self, elements: Sequence[XmlElement], openings: dict[str, str]) -> list[Item]:
        """Return the items of elements in a paragraph; ``openings`` gets the beginnings of its runs."""
        items: list[Item] = []
        for child in elements:
            name = self.name_of(child)
            if name in {"w:r", "a:r", "x:r"}:
                items += self._read_run(child, openings)
            elif name == "x:t":
                openings.setdefault("", "")
                items.append(Words(self._read_text(child, name), "", child.start, child.end))
            elif self._is_group(child, name):
                items.append(self._read_group(child, openings))
            elif (border := self._read_range(child, name)) is not None:
                items.append(border)
            elif name not in _DROPPED:
                items.append(self.read_other(child, None))
        return fold_ranges(items, self.text, self._holds_text)

    def _is_group(self, element: XmlElement, name: str) -> bool:
        if name == "w:fldSimple":
            return self._instruction(element.get(f"{element.prefix}instr")) in _FIELDS_WITH_TEXT
        return name in _GROUPS and not element.is_empty and not _find_list(element)

    def _holds_text(self, start: RangeEnd, instruction: str) -> bool:
        if start.key != FIELD:
            return True
        return not start.note and self._instruction(instruction) in _FIELDS_WITH_TEXT

    @staticmethod
    def _instruction(text: str) -> str:
        return (text.split() or [""])[0].upper()

    def _read_group(self, element: XmlElement, openings: dict[str, str]) -> Item:
        inner = element.child("sdtContent") if element.local_name == "sdt" else element
        if inner is None or inner.is_empty:
            return self.read_other(element, None)
        children = inner.children
        begin = inner.content_start
        if children and children[0].local_name in {"smartTagPr", "customXmlPr"}:
            begin, children = children[0].end, children[1:]
        opening, closing = self.text[element.start : begin], self.text[inner.content_end : element.end]
        items = self._read_items(children, openings)
        return make_group(self.text, (opening, closing), items, element)

    def _read_range(self, element: XmlElement, name: str) -> Item | None:
        role = next((role for role in ("Start", "End") if name.endswith(role)), "")
        kind = name[2 : -len(role)] if role else ""
        if kind not in _RANGES or not name.startswith("w:"):
            return None
        piece: Piece = (None, self.raw(element))
        key = f"{kind} {element.get(f'{element.prefix}id')}"
        if element.get(f"{element.prefix}name") == "_GoBack":
            self._hidden_ids.add(key)
        if key in self._hidden_ids:
            return Inline([piece], is_hidden=True)
        return RangeEnd(key, role.lower(), piece, element.start, element.end, element.start, element.end)

    def _read_run(self, run: XmlElement, openings: dict[str, str]) -> Iterator[Item]:
        if run.is_empty:
            return
        properties = run.child("rPr")
        style = "" if properties is None else self._style(properties)
        opening = self.text[run.start : run.content_start] + ("" if properties is None else self.raw(properties))
        openings.setdefault(style, opening)
        content = [each for each in run.children if each is not properties and self.name_of(each) not in _DROPPED]
        if content and not any(self.name_of(each) in _RUN_CONTENT for each in content):
            own = [each for each in content if self.holds_own(each)]
            markup = replace_with_references(self.text, run.start, run.end, own, self.offset)
            yield Inline([(None, markup)], tuple(own))
            return
        for index, child in enumerate(content):
            name = self.name_of(child)
            begin = run.start if index == 0 else None
            end = run.end if index == len(content) - 1 else None
            if self._is_choice and name == "w:t":
                self._choices.add(child.start)
                yield self.read_other(child, style)
            elif name in {"w:t", "a:t", "x:t"}:
                yield Words(self._read_text(child, name), style, child.start, child.end, begin, end)
            elif name in {"w:noBreakHyphen", "w:softHyphen"}:
                hyphen = "\u2011" if name == "w:noBreakHyphen" else ""  # other words are divided elsewhere
                yield Words(hyphen, style, child.start, child.end, begin, end)
            elif name == "w:fldChar":
                role = {"begin": "start", "end": "end"}.get(child.get(f"{child.prefix}fldCharType"), "middle")
                data, inline = child.child("ffData"), self.read_other(child, style)
                note = _computed_type(data.child("textInput")) if data else ""
                self._is_choice = bool(data and data.child("ddList")) or (self._is_choice and role == "middle")
                yield RangeEnd(
                    FIELD, role, inline.pieces[0], child.start, child.end, begin, end, note, elements=inline.elements
                )
            elif name == "w:instrText":
                piece = (style, self.raw(child))
                yield RangeEnd(FIELD, "note", piece, child.start, child.end, note=element_text(self.text, child))
            elif name == "w:ruby" and (words := self._read_ruby(child)):
                yield Words(words, style, child.start, child.end, begin, end)
            else:
                yield self.read_other(child, style)

    def _read_ruby(self, ruby: XmlElement) -> str:
        """Return the words that have a reading above them, which a translation does not have.

        It is "" for anything but words.
        """
        base = ruby.child("rubyBase")
        content = [each for run in (base.children if base else ()) for each in run.children]
        if any(self.name_of(each) not in {"w:t", "w:rPr"} for each in content):
            return ""
        return "".join(self._read_text(each, "w:t") for each in content if each.local_name == "t")

    def _read_text(self, element: XmlElement, name: str) -> str:
        words = element_text(self.text, element)
        if name == "x:t":
            return decode_xstring(words)
        words = words.replace("\n", " ")
        return words if name != "w:t" or element.get("xml:space") == "preserve" else words.strip(" ")

    def _style(self, properties: XmlElement) -> str:
        """Return what identifies a formatting: its properties but for languages and a spelling checker's marks."""
        attributes = [
            f"{name}={each.value}" for name, each in properties.attributes.items() if name not in _IGNORED_ATTRIBUTES
        ]
        children = [self.raw(each) for each in properties.children if self.name_of(each) not in _IGNORED_PROPERTIES]
        return "".join(f"{each}\n" for each in [*attributes, *children])


def _find_list(control: XmlElement | None) -> XmlElement | None:
    """Return the list of entries of a content control, None if it has none."""
    properties = control.child("sdtPr") if control is not None and control.local_name == "sdt" else None
    return (properties.child("dropDownList") or properties.child("comboBox")) if properties else None


def _shown_values(entries: XmlElement) -> set[str]:
    """Return the values that a list shows since their entries have no text; they stay."""
    return {each.get(f"{each.prefix}value") for each in entries.children if not each.get(f"{each.prefix}displayText")}


def _is_text_field(element: XmlElement | None) -> bool:
    """Whether an element describes a field of a form that holds words."""
    return element is not None and element.local_name == "textInput" and not _computed_type(element)


def _computed_type(text_input: XmlElement | None) -> str:
    """Return the type of a field of a form that holds a number, a date or a result, "" for words."""
    kind = text_input.child("type") if text_input else None
    found = kind.get(f"{kind.prefix}val") if kind else ""
    return "" if found == "regular" else found


def decode_xstring(text: str) -> str:
    """Return a text of SpreadsheetML (ST_Xstring) without its escapes; its line ends are line feeds."""
    if "_x" not in text:
        return text
    characters = _XSTRING.sub(lambda match: chr(int(match[1], 16)), text)
    decoded = characters.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def _write_xstring(name: str, words: str) -> str:
    escaped = _LIKE_XSTRING.sub("_x005F_", words)
    return _write_text(name, _NOT_IN_XML.sub(lambda match: f"_x{ord(match[0]):04X}_", escaped))


def _write_text(name: str, words: str) -> str:
    space = ' xml:space="preserve"' if words != words.strip() or "  " in words or "\n" in words else ""
    return f"<{name}{'' if name.endswith('a:t') else space}>{escape_text(words)}</{name}>"
