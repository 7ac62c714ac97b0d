"""Checks that `llm translate` keeps real files: messages, markup but Markdown and HTML, Office files, books.

    python benchmarks/format_identity.py DIR

DIR holds archives from package registries: `npm pack NAME@VERSION` for `NPM`, and `pip download --no-deps --no-binary
:all: NAME==VERSION` for `PYPI`, `apt-get source --download-only NAME=VERSION` for `DEBIAN` (its `.orig` archives); and
Office files and books of your own. Of equal files in them, one counts. Three things are counted for each format:

- identity: without translations, the file is the same byte for byte;
- itself: with every text replaced by itself, the file has the same texts again, in whatever lines;
- valid: with every text translated (letters become others, what is protected stays), the file is valid in its format
  (if it was before), and has the same segments again; of an archive, the files without words are the same byte for
  byte, compressed too, and python-docx, python-pptx or openpyxl finds the same structure in it: paragraphs with their
  styles and the formatting of their words, shapes, cells, formulas.

Files that the format refuses are listed with its reason.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.translatable import find_document_format, open_translatable
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument, InputError

NPM = (
    "react-native@0.86.3", "cordova-plugin-barcodescanner@0.7.4", "cordova-plugin-media-capture@6.0.0", "@capacitor/android@8.5.2",
    "@nativescript/ios@9.1.0", "tns-ios@6.5.6", "react-native-video@6.19.3", "@twilio/voice-react-native-sdk@1.7.0", "ngx-extended-pdf-viewer@30.0.0",
    "ngx-i18nsupport@0.17.1", "@ngx-i18nsupport/tooling@8.0.3",
    "mammoth@1.13.0", "carbone@3.8.2",
)  # fmt: skip
PYPI = (
    "labelme==6.3.1", "openlp==3.1.6", "retext==8.1.0", "vorta==0.11.6", "sphinx==9.0.4", "python-docx==1.2.0", "python-pptx==1.0.2",
    "ezodf==0.3.2", "odfpy==1.4.1", "py3o.template==0.10.0", "pyexcel-ods3==0.6.1", "relatorio==1.0.0", "secretary==0.2.19",
    "nbformat==5.11.1", "nbclient==0.11.0", "nbconvert==7.16.6", "nbsphinx==0.9.8", "papermill==2.7.0", "seaborn==0.13.2",
)  # fmt: skip
DEBIAN = (
    "git=1:2.47.3-0+deb13u1", "asciidoc=10.2.1-1", "pari=2.17.2-1", "asymptote=3.02+ds-1", "form=4.3.1+git20250227+ds-2", "hevea=2.36-2",
    "latexml=0.8.8-2", "latexdiff=1.3.2-1",
)  # fmt: skip
ASCIIDOC_FOLDERS = ("git-2.47.3/Documentation/", "asciidoc-py-10.2.1/doc/")
"""Where files with the suffix ".txt" are AsciiDoc; release notes are plain text."""
ARCHIVES = frozenset({"docx", "pptx", "xlsx", "odt", "odp", "ods", "epub"})
FORMATS = ARCHIVES | {"xliff", "android", "strings", "stringsdict", "xcstrings", "resx", "qt", "fluent", "rst", "po", "json", "yaml", "notebook", "asciidoc", "latex"}  # fmt: skip
ARCHIVE_SUFFIXES = frozenset(
    {".docx", ".docm", ".dotx", ".pptx", ".pptm", ".ppsx", ".xlsx", ".xlsm", ".odt", ".ott", ".odp", ".otp", ".ods", ".ots", ".epub"}
)  # fmt: skip
SUFFIXES = ARCHIVE_SUFFIXES | {
    ".xlf", ".xliff", ".xml", ".strings", ".stringsdict", ".xcstrings", ".resx", ".resw", ".ts", ".ftl", ".rst", ".po", ".arb", ".ipynb", ".adoc", ".asciidoc", ".tex", ".ltx",
}  # fmt: skip
TARGET = "pl"
LETTERS = str.maketrans("aeiouyAEIOUY", "\u00e4\u00ea\u00ef\u00f6\u00fc\u00ff\u00c4\u00ca\u00cf\u00d6\u00dc\u0178")


def is_asciidoc_text(name: PurePosixPath) -> bool:
    """Whether a file is AsciiDoc, though its suffix does not say so."""
    return name.suffix == ".txt" and str(name).startswith(ASCIIDOC_FOLDERS) and "RelNotes" not in name.parts


def read_files(directory: Path) -> Iterator[tuple[str, Document]]:
    """Yield the name and the document of each different file in the archives, and of the Office files beside them."""
    seen: set[str] = set()
    for name, data in _read_data(directory):
        digest = hashlib.sha256(data).hexdigest()
        if not data or digest in seen:
            continue
        seen.add(digest)
        try:
            yield name, open_translatable(data, name)
        except InputError as error:
            print(f"{name}: refused: {error.detail or type(error).__name__}")


def _read_data(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.iterdir()):
        if path.suffix in ARCHIVE_SUFFIXES:
            yield path.name, path.read_bytes()
        elif path.suffix in {".gz", ".tgz", ".xz"}:
            with tarfile.open(path) as package:
                for member in package:
                    name = PurePosixPath(member.name)
                    is_asciidoc = is_asciidoc_text(name)
                    is_read = member.isfile() and (name.suffix in SUFFIXES or is_asciidoc)
                    stream = package.extractfile(member) if is_read else None
                    if stream is not None:
                        yield f"{path.name}: {name.with_suffix('.adoc') if is_asciidoc else name}", stream.read()


def translate_letters(segment: Segment) -> str:
    """Return the text of a segment with other letters outside of what is protected."""
    parts, at = [], 0
    for span in segment.protected:
        parts += [segment.text[at : span.start].translate(LETTERS), segment.text[span.start : span.end]]
        at = span.end
    return "".join([*parts, segment.text[at:].translate(LETTERS)])


def check_file(document_format: DocumentFormat, document: Document) -> tuple[int, bool, bool, str]:
    """Return the number of segments, whether file and texts stay the same, and what is wrong with a translation, or ""."""
    text = document.text
    segments = document_format.split(text, TARGET)
    unchanged = document_format.join(text, segments, [None] * len(segments))
    texts = [None if each.existing_translation else translate_letters(each) for each in segments]
    translated = document_format.join(text, segments, texts)
    itself = document_format.split(document_format.join(text, segments, [each.text for each in segments]), TARGET)
    keeps_texts = [each.text.split() for each in itself] == [each.text.split() for each in segments]
    problem = "" if document_format.check(text) else document_format.check(translated)
    is_same = unchanged == text
    if document.data is not None:
        is_same = is_same and document_format.pack(document.data, unchanged) == document.data
        data = document_format.pack(document.data, translated)
        problem = problem or compare_archives(document.data, data)
        problem = problem or compare_structures(document_format.name, document.data, data)
        if open_translatable(data, document.name).text != translated:
            problem = problem or "it is not what was packed"
    if not problem and len(again := document_format.split(translated, TARGET)) != len(segments):
        problem = f"{len(segments)} segments became {len(again)}"
    return len(segments), is_same, keeps_texts, problem


def compare_archives(before: bytes, after: bytes) -> str:
    """Return what differs in two archives beside the content of some files and what follows from it, or ""."""
    with zipfile.ZipFile(io.BytesIO(before)) as one, zipfile.ZipFile(io.BytesIO(after)) as other:
        damaged = other.testzip()
        if damaged is not None:
            return f"{damaged} is damaged"
        rows = [
            [
                (e.filename, e.date_time, e.compress_type, e.comment, e.external_attr, e.create_system)
                for e in each.infolist()
            ]
            for each in (one, other)
        ]
        if rows[0] != rows[1] or one.comment != other.comment:
            return "the directory of the archive differs"
        for old, new in zip(one.infolist(), other.infolist(), strict=True):
            if old.CRC == new.CRC and _stored_bytes(before, old) != _stored_bytes(after, new):
                return f"{old.filename} was compressed again"
    return ""


def compare_structures(name: str, before: bytes, after: bytes) -> str:
    """Return whether the structure of an Office document has changed, "" if not, or if no other library reads it."""
    try:
        structure = read_structure(name, before)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        print(f"  (not read by another library: {error})")
        return ""
    return "" if read_structure(name, after) == structure else "its structure has changed"


def read_structure(name: str, data: bytes) -> list[object]:
    """Return the structure of an Office document as another library reads it, without its words; of others nothing."""
    stream = io.BytesIO(data)
    if name == "docx":
        import docx

        document = docx.Document(stream)
        paragraphs = [*document.paragraphs, *(p for t in document.tables for c in t._cells for p in c.paragraphs)]  # noqa: SLF001 (python-docx lists cells in no other way)
        return [
            (paragraph.style.name if paragraph.style else "", {(r.bold, r.italic, r.underline, r.font.size) for r in paragraph.runs if r.text.strip()})
            for paragraph in paragraphs
        ]  # fmt: skip
    if name == "pptx":
        import pptx

        return [
            (shape.shape_type, shape.name, [(p.level, {(r.font.bold, r.font.size, r.hyperlink.address) for r in p.runs}) for p in shape.text_frame.paragraphs])
            if shape.has_text_frame
            else (shape.shape_type, shape.name)
            for slide in pptx.Presentation(stream).slides
            for shape in slide.shapes
        ]  # fmt: skip
    if name == "xlsx":
        import openpyxl

        return [
            (sheet.title, [(c.coordinate, c.data_type, c.value if c.data_type != "s" else "") for row in sheet.iter_rows() for c in row])
            for sheet in openpyxl.load_workbook(stream).worksheets
        ]  # fmt: skip
    return []


def _stored_bytes(archive: bytes, entry: zipfile.ZipInfo) -> bytes:
    start = entry.header_offset
    sizes = int.from_bytes(archive[start + 26 : start + 28], "little") + int.from_bytes(
        archive[start + 28 : start + 30], "little"
    )
    return archive[start : start + 30 + sizes + entry.compress_size]


def main(directory: Path) -> None:
    """Count the files of each format."""
    counts: dict[str, Counter[str]] = {}
    for name, document in read_files(directory):
        document_format = find_document_format(document)
        if document_format.name not in FORMATS:
            continue
        found = counts.setdefault(document_format.name, Counter())
        try:
            segments, is_same, keeps_texts, problem = check_file(document_format, document)
        except BadDocument as error:
            found["refused"] += 1
            print(f"{name}: line {error.line}: {error.detail}")
            continue
        found += Counter(files=1, segments=segments, identity=is_same, itself=keeps_texts, valid=not problem)
        counts[document_format.name] = found
        if problem or not is_same or not keeps_texts:
            print(f"{name}: {problem or ('texts changed' if is_same else 'not the same')}")
    for name in sorted(counts):
        found = counts[name]
        print(
            f"{name:12} {found['files']:5} files  {found['segments']:7} segments  identity {found['identity']:5}"
            f"  itself {found['itself']:5}"
            f"  valid {found['valid']:5}  refused {found['refused']:3}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
