"""The formats of files: one entry says what llm can do with each, and how a format is found.

A format can be translated (its regions of words are replaced), read (its text is taken out, for a model), and hold
records. An entry is data; the module that does it is imported when a document needs it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from llmcli.errors import BadDocument, UsageError
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.documents.formats.document_format import DocumentFormat
    from llmcli.documents.records.formats.record_format import RecordFormat

LINES, JSON_LINES, DELIMITED_FORMATS = "lines", "jsonl", frozenset({"csv", "tsv"})
TEXT_FORMATS = frozenset({LINES, "paragraphs", "sentences", "document"})
WORKBOOK_FORMATS = frozenset({"xlsx", "ods"})
"""Formats that other code names."""
_SNIFFED_CHARS = 100_000
"""Characters of a text that are searched for its format."""
_ZIP_DESCRIPTIONS = ("[Content_Types].xml", "mimetype")
"""The files of an archive that say what it is."""
_ZIP_READER = "llmcli.documents.format_registry:read_zip_format"
_PARQUET_MAGIC = b"PAR1"
_NO_RECORD_SUFFIXES = frozenset({"7z", "bz2", "gz", "npy", "npz", "ods", "xls", "xlsx", "xz", "zip", "zst"})
"""Names of spreadsheets, arrays and compressed files, which are no output of records."""
_FORMATS = "llmcli.documents.formats"
_XML_START = r"\A\s*+(?:<\?[^>]*+>\s*+|<!--(?:[^-]|-(?!->))*+-->\s*+)*+"
"""What may stand before the root element of XML; a document type not included."""
_SOURCES = "llmcli.documents.reading.sources"
_RECORDS = "llmcli.documents.records.formats"


@frozen
class FormatEntry:
    """A format, and what can be done with its files; "" for what cannot be."""

    name: str
    translator: str = ""
    """The ``DocumentFormat`` that finds what is translated, as "package.module:ATTRIBUTE"."""
    reader: str = ""
    """The function that yields the text of a file, if it is not read as it is; "package.module:function"."""
    records: str = ""
    """The ``RecordFormat`` of its records, as "package.module:ATTRIBUTE"."""
    aliases: tuple[str, ...] = ()
    """Other names. They and the name are suffixes of files too, without the dot."""
    file_names: tuple[str, ...] = ()
    """Names of files of this format whose suffix other files have too."""
    unlisted: frozenset[str] = frozenset()
    """Names whose files are not picked up from a directory to be translated."""
    unread: frozenset[str] = frozenset()
    """Names whose files are read as they are, not by the reader."""
    sniff_patterns: tuple[tuple[int, str], ...] = ()
    """(Rank, regular expression) of typical content; patterns are tried from the lowest rank up, over all formats."""
    zip_types: tuple[str, ...] = ()
    """What [Content_Types].xml or the file mimetype says in a ZIP archive of this format."""
    zip_member: str = ""
    """A file in an archive of this format that does not say what it is."""
    signatures: tuple[bytes, ...] = ()
    """The first bytes of a binary format that can be translated; ``decode_utf8`` refuses such bytes."""
    is_fallback: bool = False
    """Whether this is the format of a text that looks like no other format."""
    record_name: str = ""
    """The name as a format of records, if it is another one."""
    description: str = ""
    """What a file that is read is, for people: "a PDF document"."""
    is_text: bool = False
    """Whether a text is of this format by its suffix alone, when it is read."""
    may_be_utf16: bool = False
    """Whether a file in UTF-16 with a byte order mark is read too, and written so."""
    in_child: bool = False
    """Whether a document is read, and tried before it is translated, in a child process with limits: a small file can
    make that take all memory, or crash."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the format."""
        return (self.name, *self.aliases)


_ENTRIES: dict[str, FormatEntry] = {}


def register_format(entry: FormatEntry) -> None:
    """Register a format. Raises ``ValueError`` if one of its names is taken."""
    known = {name for each in _ENTRIES.values() for name in (*each.names, each.record_name)}
    taken = [name for name in (*entry.names, entry.record_name) if name and name in known]
    if taken:
        raise ValueError(f"there is already a format called {taken[0]}")
    _ENTRIES[entry.name] = entry


def unregister_format(name: str) -> None:
    """Unregister a format."""
    del _ENTRIES[name]


def _with(ability: str) -> Iterator[FormatEntry]:
    return (entry for entry in _ENTRIES.values() if getattr(entry, ability))


def _find_entry(word: str, ability: str) -> FormatEntry | None:
    """Return the entry with this name or suffix that has an ability."""
    word = word.lower()
    return next((entry for entry in _with(ability) if word in entry.names), None)


def load_attribute(location: str) -> Any:
    """Return what "package.module:ATTRIBUTE" names."""
    module, _, attribute = location.partition(":")
    return getattr(importlib.import_module(module), attribute)


# ---- formats that can be translated ----------------------------------------------------------------------------------


def format_names() -> tuple[str, ...]:
    """Return the names of the formats that can be translated, in the order of their registration."""
    return tuple(entry.name for entry in _with("translator"))


def listed_suffixes() -> tuple[str, ...]:
    """Return how the names of files end that are picked up from a directory to be translated: ".md", "strings.xml"."""
    suffixes = (f".{name}" for entry in _with("translator") for name in entry.names if name not in entry.unlisted)
    return (*suffixes, *(name for entry in _with("translator") for name in entry.file_names))


def require_name(wanted: str) -> str:
    """Return the name of the format that ``wanted`` means. Raises ``UsageError`` if none that can be translated is."""
    known = _find_entry(wanted.strip().removeprefix("."), "translator")
    if known is None:
        import difflib

        names = format_names()
        aliases = [alias for entry in _with("translator") for alias in entry.aliases]
        near = difflib.get_close_matches(wanted.lower(), [*names, *aliases], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Formats: {', '.join(names)}"
        raise UsageError(f"no format called {wanted}", detail=hint)
    return known.name


def find_format(name: str, text: str, wanted: str | None = None) -> DocumentFormat:
    """Return the format called ``wanted``, else that of the file ``name``, else the one that ``text`` looks like.

    Raises ``UsageError`` if there is no format called ``wanted``.
    """
    if wanted is not None:
        return load_format(require_name(wanted))
    file_name = name.rpartition("/")[2]
    ending = file_name.rpartition(".")
    known = next((entry for entry in _with("translator") if file_name in entry.file_names), None)
    known = known or (_find_entry(ending[2], "translator") if ending[1] else None)
    return load_format(known.name if known else _sniff(text))


def document_format_by_suffix(name: str) -> str | None:
    """Return the name of the translatable format that a file's name shows, None if it shows none."""
    suffix = PurePath(name).suffix[1:]
    known = _find_entry(suffix, "translator") if suffix else None
    return None if known is None else known.name


def find_binary_format(data: bytes) -> str | None:
    """Return the name of the format whose signature ``data`` begins with."""
    return next((entry.name for entry in _with("signatures") if data.startswith(entry.signatures)), None)


def find_zip_format(data: bytes) -> FormatEntry | None:
    """Return the format of a ZIP archive by what it says, else by the files in it.

    Raises ``BadDocument`` for a damaged or encrypted archive.
    """
    from llmcli.documents.reading.reader_process import read_in_child

    names = [*read_in_child(_ZIP_READER, data)]  # to the end, so that the child can read the file too
    return _ENTRIES[str(names[0])] if names else None


def read_zip_format(data: bytes, name: str) -> Iterator[str]:
    """Yield the name of the format of a ZIP archive; a reader, since a small archive can unpack to much."""
    from llmcli.documents.reading.sources.zip_package import ZipPackage

    del name
    package = ZipPackage(data)
    names = frozenset(package.names)
    said = "\n".join(package.read(each).decode("utf-8", "replace") for each in _ZIP_DESCRIPTIONS if each in names)
    by_type = (entry for entry in _with("zip_types") if any(kind in said for kind in entry.zip_types))
    by_member = (entry for entry in _with("zip_member") if entry.zip_member in names)
    entry = next(by_type, None) or next(by_member, None)
    if entry is not None:
        yield entry.name


def find_translatable_archive(data: bytes, name: str) -> str | None:
    """Return the name of the format of a ZIP archive that can be translated; ``name`` is that of its file.

    Raises ``BadDocument`` for a damaged or encrypted archive, and if the suffix is that of another format.
    """
    found = find_zip_format(data)
    if found is None or not found.translator:
        return None
    named = _find_entry(PurePath(name).suffix[1:], "translator")
    if named is not None and named is not found:
        raise BadDocument(detail=f"it is {found.description}, not what its name says; rename it")
    return found.name


def describe_format(name: str) -> str:
    """Return what a document of a format is, for people: "a Word document"."""
    return _ENTRIES[name].description or f"{name} text"


def describe_archive_suffix(name: str) -> str:
    """Return what a file with this name is, "" if it is no archive that can be translated."""
    known = _find_entry(PurePath(name).suffix[1:], "translator")
    return known.description if known is not None and (known.zip_types or known.zip_member) else ""


def is_text_read_in_child(name: str) -> bool:
    """Whether documents of a format are texts, and read in a child process."""
    entry = _ENTRIES[name]
    return entry.in_child and not entry.zip_types


def may_be_utf16(name: str) -> bool:
    """Whether a file with this name may be in UTF-16."""
    known = _find_entry(PurePath(name).suffix[1:], "translator")
    return known is not None and known.may_be_utf16


def load_format(name: str) -> DocumentFormat:
    """Return the format that is registered under ``name``."""
    return cast("DocumentFormat", load_attribute(_ENTRIES[name].translator))


def _sniff(text: str) -> str:
    looked_at = text[:_SNIFFED_CHARS].removeprefix("\ufeff")
    patterns = sorted((rank, each, entry.name) for entry in _ENTRIES.values() for rank, each in entry.sniff_patterns)
    for _, pattern, name in patterns:
        if re.search(pattern, looked_at, re.MULTILINE | re.IGNORECASE):
            return name
    return next(entry.name for entry in _ENTRIES.values() if entry.is_fallback)


# ---- formats that are read -------------------------------------------------------------------------------------------


def find_reader(suffix: str) -> FormatEntry | None:
    """Return the format whose reader reads files with this suffix; None for a text and for an unknown format."""
    return next((entry for entry in _with("reader") if suffix in entry.names and suffix not in entry.unread), None)


def find_reader_by_name(name: str) -> FormatEntry | None:
    """Return the format whose reader reads a file with this name."""
    return find_reader(PurePath(name).suffix[1:].lower())


def is_plain_suffix(suffix: str) -> bool:
    """Whether a file with this suffix is a text that is read as it is."""
    return is_markdown_suffix(suffix) or suffix in (*_ENTRIES["plain"].names, *_ENTRIES["rst"].names)


def is_markdown_suffix(suffix: str) -> bool:
    """Whether a file with this suffix is Markdown."""
    return suffix in _ENTRIES["markdown"].names


# ---- formats of records ----------------------------------------------------------------------------------------------


def record_format_names() -> list[str]:
    """Return the names of the formats of records."""
    return [entry.record_name or entry.name for entry in _with("records")]


def load_record_format(name: str) -> RecordFormat:
    """Return the format of records called ``name``. Raises ``UsageError`` if there is none."""
    found = next((entry for entry in _with("records") if name == (entry.record_name or entry.name)), None)
    if found is None:
        raise UsageError(f"{name} is no format of records", detail=f"Choose one of {', '.join(record_format_names())}.")
    return cast("RecordFormat", load_attribute(found.records))


def record_format_by_suffix(name: str) -> str | None:
    """Return the format of records that a file's name shows, None if it shows none."""
    suffix = PurePath(name).suffix[1:]
    found = _find_entry(suffix, "records") if suffix else None
    return None if found is None else found.record_name or found.name


def output_record_format(name: str) -> str | None:
    """Return the format of records that an output's name shows, None if it shows none.

    Raises ``UsageError`` for the name of a format in which records are not written: programs would refuse the file.
    """
    suffix = PurePath(name).suffix[1:].lower()
    if suffix in _NO_RECORD_SUFFIXES:
        detail = "Choose another name, such as FILE.csv, FILE.tsv, FILE.jsonl or FILE.parquet."
        raise UsageError(f"cannot write {name}: records are not written as .{suffix}", detail=detail)
    return record_format_by_suffix(name)


def sniff_record_format(name: str, beginning: bytes, *, is_table: bool) -> str:
    """Return the format of records of an input by its name, or by its first bytes.

    ``is_table``: the user named a column, so that it cannot be plain lines. Without that, text is a table only if its
    first line is a JSON object: sentences contain commas too, and a template may begin with a slot such as {name}.
    """
    known = record_format_by_suffix(name)
    if known is not None and not (is_table and known == LINES):
        return known
    if beginning.startswith(_PARQUET_MAGIC):
        return "parquet"
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") and (is_table or start[1:].lstrip()[:1] in b'"}'):
        return JSON_LINES
    return "csv" if is_table else LINES


for _entry in (
    FormatEntry(
        "plain",
        f"{_FORMATS}.plain_text:FORMAT",
        records=f"{_RECORDS}.plain_lines:FORMAT",
        record_name=LINES,
        aliases=("text", "txt", "log"),
        unlisted=frozenset({"plain", "text", "log"}),
        is_fallback=True,
    ),
    FormatEntry(
        "markdown",
        f"{_FORMATS}.markup.markdown_format:FORMAT",
        aliases=("md", "mkd", "mdown", "mdx", "qmd", "rmd"),
        sniff_patterns=(
            (50, r"\A---[ \t]*\r?\n(?:[^\r\n]*+\r?\n)*?---[ \t]*(?:\r?\n|\Z)"),
            (90, r"^ {0,3}(?:#{1,6}[ \t]+\S|```|~~~|[-*+] +\[[^\]\n]{1,200}\]\(|\[[^\]\n]{1,200}\]:[ \t]+\S)"),
            (
                100,
                r"\]\([^()\s]{1,500}\)|^ {0,3}\|?[ :-]*-{3,}[ :-]*\|[-| :]*$|^[^\s=-][^\n]*\n(?:={3,}|-{3,})[ \t]*$",
            ),
        ),
    ),
    FormatEntry(
        "html",
        f"{_FORMATS}.markup.html_format:FORMAT",
        reader=f"{_SOURCES}.html_source:read_html",
        description="an HTML page",
        aliases=("htm", "xhtml"),
        sniff_patterns=((20, r"\A\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+)?<(?:!doctype\s+html|html|head|body)\b"),),
    ),
    FormatEntry(
        "srt",
        f"{_FORMATS}.subtitles:SRT",
        sniff_patterns=((30, r"\A\s*+\d+[ \t]*\r?\n\d+:\d\d:\d\d[,.]\d{1,3}[ \t]*-->"),),
    ),
    FormatEntry(
        "vtt",
        f"{_FORMATS}.subtitles:VTT",
        aliases=("webvtt",),
        sniff_patterns=((10, r"\AWEBVTT(?:[ \t\r\n]|\Z)"),),
    ),
    FormatEntry(
        "po",
        f"{_FORMATS}.message_files.po:FORMAT",
        aliases=("pot", "gettext"),
        sniff_patterns=((40, r'^(?:#~ )?msgid[ \t]+"'),),
    ),
    FormatEntry(
        "xliff",
        f"{_FORMATS}.xml_files.xliff:FORMAT",
        aliases=("xlf",),
        sniff_patterns=((12, rf"{_XML_START}<(?:[\w.-]+:)?xliff\b"),),
    ),
    FormatEntry(
        "android",
        f"{_FORMATS}.xml_files.android_strings:FORMAT",
        file_names=("strings.xml", "arrays.xml", "plurals.xml"),
        unlisted=frozenset({"android"}),
        sniff_patterns=((13, rf"{_XML_START}<resources\b"),),
    ),
    FormatEntry(
        "json",
        f"{_FORMATS}.message_files.json_messages:FORMAT",
        reader=f"{_SOURCES}.json_source:read_json",
        description="JSON",
        is_text=True,
        aliases=("arb",),
        unread=frozenset({"arb"}),
        sniff_patterns=((80, r"\A\s*+[{\[]\s*+[\"{\[\]}]"),),
    ),
    FormatEntry(
        "yaml",
        f"{_FORMATS}.message_files.yaml_messages:FORMAT",
        aliases=("yml",),
        sniff_patterns=((60, r"\A(?:[ \t]*(?:#[^\n]*)?\n)*+(?:---[ \t]*\n)?[\w-]+:[ \t]*\r?\n[ \t]+[\w-]+:(?:\s|\Z)"),),
    ),
    FormatEntry(
        "properties",
        f"{_FORMATS}.message_files.properties:FORMAT",
        aliases=("props",),
        sniff_patterns=((70, r"\A(?:[ \t]*(?:[#!][^\n]*)?\n)*+[\w-]+(?:\.[\w-]+)++[ \t]*=[ \t]*\S"),),
    ),
    FormatEntry(
        "strings",
        f"{_FORMATS}.message_files.apple_strings:FORMAT",
        may_be_utf16=True,
        sniff_patterns=((45, r"\A(?:\s++|/\*(?:[^*]|\*(?!/))*+\*/|//[^\n]*+\n)*+\"(?:[^\"\\]|\\.)*+\"\s*+=\s*+\""),),
    ),
    FormatEntry(
        "stringsdict",
        f"{_FORMATS}.xml_files.stringsdict:FORMAT",
        sniff_patterns=((14, rf"{_XML_START}(?:<!DOCTYPE\s[^\[>]*+>\s*+)?<plist\b"),),
    ),
    FormatEntry(
        "xcstrings",
        f"{_FORMATS}.message_files.string_catalog:FORMAT",
        sniff_patterns=((75, r"\A\s*+\{\s*+\"sourceLanguage\"\s*+:"),),
    ),
    FormatEntry(
        "rst",
        f"{_FORMATS}.markup.rst_format:FORMAT",
        aliases=("rest",),
        sniff_patterns=((85, r"^\.\. (?:[a-z][\w:-]{0,60}::(?:\s|\Z)|_[^:\n]{1,100}:(?:\s|\Z))"),),
    ),
    FormatEntry(
        "notebook",
        f"{_FORMATS}.markup.notebook_format:FORMAT",
        reader=f"{_SOURCES}.notebook_source:read_notebook",
        description="a Jupyter notebook",
        in_child=True,
        aliases=("ipynb",),
        unlisted=frozenset({"notebook"}),
        sniff_patterns=(
            (
                74,
                (
                    r"\A\s*+\{\s*+\"(?:cells\"\s*+:\s*+\[\s*+\{\s*+\"(?:attachments|cell_type|execution_count|id|metadata|outputs"
                    r"|source)\"\s*+:|(?s:.*?)\"nbformat\"\s*+:\s*+\d)"
                ),
            ),
        ),
    ),
    FormatEntry(
        "asciidoc",
        f"{_FORMATS}.markup.asciidoc_format:FORMAT",
        aliases=("adoc", "asc"),
        unlisted=frozenset({"asc"}),
        sniff_patterns=(
            (
                87,
                r"\A(?:\s++|//[^\n]*+\n|:!?\w[\w-]*+!?:[^\n]*+\n)*+=[ ][^\n]*+\n|^\[(?:source|NOTE|TIP|WARNING)\b[^\]\n]*+\]$",
            ),
        ),
    ),
    FormatEntry(
        "latex",
        f"{_FORMATS}.markup.latex_format:FORMAT",
        aliases=("tex", "ltx"),
        unlisted=frozenset({"latex"}),
        sniff_patterns=(
            (
                48,
                r"\A(?:\s++|%[^\n]*+\n)*+\\(?:documentclass|documentstyle|begin\{|(?:sub)*section|chapter|input\{|usepackage)",
            ),
        ),
    ),
    FormatEntry(
        "resx",
        f"{_FORMATS}.xml_files.resx:FORMAT",
        aliases=("resw",),
        sniff_patterns=((15, rf"{_XML_START}<root>\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+)?<(?:xsd:schema|resheader)\b"),),
    ),
    FormatEntry(
        "qt",
        f"{_FORMATS}.xml_files.qt_linguist:FORMAT",
        aliases=("linguist",),
        unlisted=frozenset({"qt", "linguist"}),
        sniff_patterns=((16, rf"{_XML_START}(?:<!DOCTYPE TS[^\[>]*+>\s*+)?<TS\b"),),
    ),
    FormatEntry(
        "fluent",
        f"{_FORMATS}.message_files.fluent:FORMAT",
        aliases=("ftl",),
        unlisted=frozenset({"fluent"}),
        sniff_patterns=(
            (
                65,
                r"\A(?:[ \t]*\r?\n|#{1,3}(?:[ ][^\n]*+)?\r?\n)*+-?[a-z][\w-]*+[ ]*=(?s:.*?)(?:\{[ ]?[$-]|^ +\.[a-z])",
            ),
        ),
    ),
    FormatEntry("pdf", reader=f"{_SOURCES}.pdf_source:read_pdf", description="a PDF document", in_child=True),
    FormatEntry(
        "docx",
        f"{_FORMATS}.packages.docx:FORMAT",
        zip_types=(
            "wordprocessingml.document.main+xml",
            "wordprocessingml.template.main+xml",
            "ms-word.document.macroEnabled.main+xml",
            "ms-word.template.macroEnabledTemplate.main+xml",
        ),
        zip_member="word/document.xml",
        reader=f"{_SOURCES}.docx_source:read_docx",
        description="a Word document",
        aliases=("docm", "dotx"),
        in_child=True,
    ),
    FormatEntry(
        "pptx",
        f"{_FORMATS}.packages.pptx:FORMAT",
        zip_types=(
            "presentationml.presentation.main+xml",
            "presentationml.slideshow.main+xml",
            "presentationml.template.main+xml",
            "ms-powerpoint.presentation.macroEnabled.main+xml",
            "ms-powerpoint.slideshow.macroEnabled.main+xml",
        ),
        zip_member="ppt/presentation.xml",
        reader=f"{_SOURCES}.pptx_source:read_pptx",
        description="a presentation",
        aliases=("pptm", "ppsx"),
        in_child=True,
    ),
    FormatEntry(
        "xlsx",
        f"{_FORMATS}.packages.xlsx:FORMAT",
        zip_types=(
            "spreadsheetml.sheet.main+xml",
            "spreadsheetml.template.main+xml",
            "ms-excel.sheet.macroEnabled.main+xml",
        ),
        zip_member="xl/workbook.xml",
        reader=f"{_SOURCES}.table_source:read_spreadsheet",
        description="a spreadsheet",
        aliases=("xlsm",),
        in_child=True,
    ),
    *(
        FormatEntry(
            name,
            f"{_FORMATS}.packages.odf:{name.upper()}",
            zip_types=(f"application/vnd.oasis.opendocument.{kind}",),
            reader=f"{_SOURCES}.{reader}",
            description=description,
            aliases=aliases,
            in_child=True,
        )
        for name, kind, description, aliases, reader in (
            ("odt", "text", "an OpenDocument text", ("ott",), "odf_source:read_odt"),
            ("odp", "presentation", "an OpenDocument presentation", ("otp",), "odf_source:read_odp"),
            ("ods", "spreadsheet", "an OpenDocument spreadsheet", ("ots",), "table_source:read_spreadsheet"),
        )
    ),
    FormatEntry(
        "epub",
        f"{_FORMATS}.packages.epub:FORMAT",
        zip_types=("application/epub+zip",),
        zip_member="META-INF/container.xml",
        reader=f"{_SOURCES}.epub_source:read_epub",
        description="an EPUB book",
        in_child=True,
    ),
    FormatEntry("eml", reader=f"{_SOURCES}.email_source:read_email", description="an email"),
    FormatEntry(
        "csv",
        reader=f"{_SOURCES}.table_source:read_csv",
        records=f"{_RECORDS}.delimited:CSV",
        description="a table",
        is_text=True,
    ),
    FormatEntry(
        "tsv",
        reader=f"{_SOURCES}.table_source:read_csv",
        records=f"{_RECORDS}.delimited:TSV",
        description="a table",
        aliases=("tab",),
        is_text=True,
    ),
    FormatEntry(
        JSON_LINES,
        reader=f"{_SOURCES}.json_source:read_json",
        records=f"{_RECORDS}.json_lines:FORMAT",
        description="JSON",
        aliases=("ndjson",),
        is_text=True,
    ),
    FormatEntry("parquet", records=f"{_RECORDS}.parquet:FORMAT", aliases=("pq",)),
    FormatEntry("paragraphs", records=f"{_RECORDS}.text_units:PARAGRAPHS"),
    FormatEntry("sentences", records=f"{_RECORDS}.text_units:SENTENCES"),
    FormatEntry("document", records=f"{_RECORDS}.text_units:DOCUMENT"),
):
    register_format(_entry)
