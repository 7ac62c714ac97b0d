"""Documents as they are read to be translated: texts, and archives such as Office files, in which texts are replaced.

Other commands read an archive by its reader (``source_reader``), or refuse it: its text here is that of its XML files.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from llmcli.documents.format_registry import (
    describe_archive_suffix,
    describe_format,
    find_format,
    find_translatable_archive,
    is_text_read_in_child,
    load_format,
)
from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.reading.document import (
    OLE_SIGNATURE,
    ZIP_SIGNATURE,
    Document,
    open_document,
    refuse_unreadable,
)
from llmcli.documents.reading.file_reader import read_bytes
from llmcli.errors import BadDocument, UsageError
from llmcli.interrupt import Interrupt, run_interruptible

_OTHER_MARKUP = (
    (re.compile(r"\ufeff?\s*<(?:\?xml\s|!DOCTYPE\s)", re.IGNORECASE), "XML of a kind that llm does not know"),
    (re.compile(r"(?:\r?\n)*(?:[.']\\\"|\.(?:TH|Dd|SH|so)\s)"), "a manual page (roff)"),
    (re.compile(r"#!\s*/"), "a program"),
)
"""How a text begins that is no prose, whatever its name."""
_MARKUP_SUFFIXES = frozenset(
    {"eml", "ics", "mbox", "mediawiki", "org", "pod", "svg", "texi", "texinfo", "textile", "typ", "vcf", "wiki"}
)
_PROGRAM_SUFFIXES = frozenset(
    {"bash", "bat", "c", "cc", "cfg", "cmake", "conf", "cpp", "cs", "css", "dart", "fish", "go", "h", "hpp", "ini", "java", "jl", "js", "jsx",
     "kt", "lua", "mjs", "php", "pl", "pm", "ps1", "py", "pyi", "r", "rb", "rs", "scala", "scss", "sh", "sql", "svelte", "swift", "tf", "toml",
     "tsx", "vue", "zsh"}
)  # fmt: skip


def read_translatable(name: str, interrupt: Interrupt | None = None) -> Document:
    """Read a file, named pipe or device. Raises what ``open_translatable`` and ``read_file`` raise."""
    data = read_bytes(name, interrupt or Interrupt(), refuse_untranslatable)
    return run_interruptible(open_translatable, data, name, Path(name))


def open_translatable(data: bytes, name: str, path: Path | None = None) -> Document:
    """Return the document in ``data`` as ``open_document`` does, or an archive whose words can be translated.

    Raises what ``open_document`` raises, and ``BadDocument`` for an archive that is damaged, encrypted, or another one
    than its name says.
    """
    if data.startswith(OLE_SIGNATURE) and "EncryptedPackage".encode("utf-16-le") in data:
        raise BadDocument(name, detail="it is encrypted; save it without a password")
    try:
        found = find_translatable_archive(data, name) if data.startswith(ZIP_SIGNATURE) else None
        if found is None:
            _refuse_other_archive(data, name)
            document = open_document(data, name, path)
            _check_text(document, find_format(name, document.text).name)
            return document
        _check_round_trip(data, found)
        text = load_format(found).extract_text(data)
    except BadDocument as error:
        raise BadDocument(name, line=error.line, detail=error.detail) from error
    return Document(name, text, path, data=data, format_name=found)


def _check_round_trip(data: bytes, format_name: str) -> None:
    from llmcli.documents.reading.round_trip import check_round_trip  # its child is for archives and notebooks

    check_round_trip(data, format_name)


def _check_text(document: Document, format_name: str) -> None:
    """Raise ``BadDocument`` if a text takes more than the limits; its translation reports a line that is wrong."""
    if document.data is not None or not is_text_read_in_child(format_name):
        return
    try:
        _check_round_trip(document.text.encode("utf-8", "surrogatepass"), format_name)
    except BadDocument as error:
        if not error.line:
            raise BadDocument(document.name, detail=error.detail) from error


def _refuse_other_archive(data: bytes, name: str) -> None:
    """Raise ``BadDocument`` for an archive, or nothing at all, with the name of an archive that can be translated."""
    description = describe_archive_suffix(name)
    if description and (not data or data.startswith(ZIP_SIGNATURE)):
        raise BadDocument(detail=f"it is {'another archive' if data else 'empty'}, not {description}")


def refuse_untranslatable(data: bytes, name: str) -> None:
    """Raise as ``open_translatable`` does if ``data`` begins no document that it may open."""
    if not data.startswith((ZIP_SIGNATURE, OLE_SIGNATURE)):
        refuse_unreadable(data, name)


def find_document_format(document: Document, wanted: str | None = None) -> DocumentFormat:
    """Return the format of a document, called ``wanted`` if it is a text.

    Raises ``UsageError`` if there is no format called ``wanted``, and for an archive of another format. Raises
    ``BadDocument`` for markup and programs if no format is ``wanted``: their signs would be translated as words.
    """
    found = find_format(document.name, document.text, wanted or document.format_name)
    if wanted is not None and found is not find_format(document.name, document.text):
        _check_text(document, found.name)
    if wanted is None and found.name == "plain" and (other := _describe_no_prose(document)):
        raise BadDocument(document.name, detail=f"it is {other}; --format plain translates it as a text")
    if document.data is not None and document.format_name not in {None, found.name}:
        raise UsageError(f"{document.name} is {describe_format(document.format_name or '')}, no {found.name} file")
    return found


def _describe_no_prose(document: Document) -> str:
    """Return what a text is that no format knows, by its beginning or its name; "" for prose."""
    other = next((what for pattern, what in _OTHER_MARKUP if pattern.match(document.text)), "")
    suffix = PurePath(document.name).suffix[1:].lower()
    if other or suffix not in _MARKUP_SUFFIXES | _PROGRAM_SUFFIXES:
        return other
    return (
        f"markup that llm does not know (.{suffix})"
        if suffix in _MARKUP_SUFFIXES
        else f"a program or its settings (.{suffix})"
    )
