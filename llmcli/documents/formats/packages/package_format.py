"""A document that is a ZIP archive of XML files, of which some hold words.

Its text is that of these files, each after a line that cannot occur in XML and names it. The last section of the text
has what a format needs to know of the other files, and their checksums: so two documents with one text are the same.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmcli.documents.formats.document_format import PART_MARK, DocumentFormat, declared_language
from llmcli.documents.formats.packages.nested_regions import join_nested
from llmcli.documents.formats.packages.zip_patch import replace_files
from llmcli.documents.formats.xml_files.xml_elements import require_well_formed
from llmcli.documents.reading.file_reader import MAX_TEXT_BYTES
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt

_FACTS = "*"
"""The name of the section with facts about the other files."""
MAX_TAGS = 2_000_000
"""Tags of a document: its segments take memory too."""
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@frozen
class Part:
    """The text of a file in the archive, and its offset in the document's text."""

    name: str
    text: str
    offset: int


Facts = Mapping[str, list[str]]
"""What is known of the other files, by the kind of fact."""


class PackageFormat(DocumentFormat):
    """A format of archives. A subclass names the files with words, and finds the segments of each."""

    can_interleave = False
    is_package = True
    description: str
    """What a document is, for people: "a Word document"."""

    @abstractmethod
    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the names of the files that are translated, in the order of reading."""

    @abstractmethod
    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Yield the segments of a file. Raises ``BadDocument`` if it is not well-formed."""

    def find_facts(self, package: ZipPackage) -> Facts:
        """Return what ``split_part`` has to know about other files."""
        del package
        return {}

    def check_part(self, part: Part, facts: Facts) -> None:
        """Raise ``BadDocument`` if a file is invalid."""
        del facts
        require_well_formed(part.text)

    def extract_text(self, data: bytes) -> str:
        """Return the text of the files that are translated, and the facts about the others."""
        package = ZipPackage(data)
        names = self.find_parts(package)
        sections, size = [], 0
        for name in names:
            check_interrupt()
            if not name.isprintable():
                raise BadDocument(detail="the file is damaged: a file in it has a name with control characters")
            content = package.read(name)
            size += len(content)
            if size > MAX_TEXT_BYTES:
                raise BadDocument(detail=f"its texts are larger than {MAX_TEXT_BYTES >> 20} MiB; split the document")
            text, _ = _decode(content, name)
            if "<!ENTITY" in text:
                raise BadDocument(detail=f"{name} declares entities of its own, which no translation keeps")
            if PART_MARK in text:
                raise BadDocument(detail=f"{name} is not well-formed: it has a control character")
            sections.append(f"{PART_MARK}{name}\n{text}")
        if sum(section.count("<") for section in sections) > MAX_TAGS:
            raise BadDocument(detail=f"it has more than {MAX_TAGS:,} tags; split the document")
        facts = {**self.find_facts(package), "files": package.checksums(names)}
        return "".join([*sections, f"{PART_MARK}{_FACTS}\n", json.dumps(facts, ensure_ascii=False)])

    def pack(self, data: bytes, text: str) -> bytes:
        """Return the document ``data`` with the files that ``text`` has; what is the same stays byte for byte."""
        package = ZipPackage(data)
        changed = {}
        for part in _read_parts(text)[0]:
            old, encoding = _decode(package.read(part.name), part.name)
            if part.text != old:
                changed[part.name] = part.text.encode(encoding)
        return replace_files(data, changed)

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments of all files."""
        del target
        parts, facts = self.read_parts(text)
        found: list[Segment] = []
        for part in parts:
            try:
                found += sorted(self.split_part(part, facts), key=lambda segment: segment.start)
            except BadDocument as error:
                raise BadDocument(line=error.line or 1, detail=f"{part.name}: {error.detail}") from error
        return found

    def join(self, text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
        """Return the text with the translations in their regions, which may be in each other."""
        return join_nested(text, segments, translations)

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return a document whose files declare the language ``target`` where they declare ``source``."""
        del segments
        parts, facts = self.read_parts(text)
        written, at = [], 0
        while parts:  # a part that is done is no longer in memory
            part = parts.pop(0)
            written += [text[at : part.offset], self.replace_part_language(part, facts, source, target)]
            at = part.offset + len(part.text)
        return "".join([*written, text[at:]])

    def replace_part_language(self, part: Part, facts: Facts, source: str, target: str) -> str:
        """Return a file that declares the language ``target`` where it declared ``source``: its property."""
        del facts
        return re.sub(
            rf"(<dc:language(?:\s[^<>]*)?>\s*){declared_language(source)}(?=\s*<)", rf"\g<1>{target}", part.text
        )

    def check(self, text: str) -> str:
        """Parse all files again."""
        name = ""
        try:
            parts, facts = self.read_parts(text)
            for part in parts:
                name = f"{part.name}: "
                self.check_part(part, facts)
        except BadDocument as error:
            return f"line {error.line or 1}: {name}{error.detail}"
        return ""

    def read_parts(self, text: str) -> tuple[list[Part], Facts]:
        """Return the files of a text. Raises ``BadDocument`` for another text."""
        if text.strip("\ufeff \t\r\n") and not text.startswith(PART_MARK):
            raise BadDocument(line=1, detail=f"it is not {self.description}")
        return _read_parts(text)


def _read_parts(text: str) -> tuple[list[Part], Facts]:
    parts: list[Part] = []
    at, facts = text.find(PART_MARK), "{}"
    while at >= 0:
        following = text.find(PART_MARK, at + 1)
        end = len(text) if following < 0 else following
        start = text.find("\n", at, end) + 1 or end
        name = text[at + 1 : start].rstrip("\n")
        if name == _FACTS:
            facts = text[start:end]
        else:
            parts.append(Part(name, text[start:end], start))
        at = following
    try:
        return parts, json.loads(facts)
    except ValueError as error:
        raise BadDocument(line=1, detail=f"it is damaged: {error}") from error


def _decode(data: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file with its byte order mark, and its encoding."""
    encoding = next((encoding for mark, encoding in _BOMS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise BadDocument(detail=f"{name} is neither UTF-8 nor UTF-16; perhaps it is encrypted") from error


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return the key that sorts "slide2.xml" before "slide10.xml"."""
    return [(int(word), "") if word.isdigit() else (0, word) for word in re.split(r"(\d+)", name)]


def matching_names(package: ZipPackage, patterns: Iterable[str]) -> Iterator[str]:
    """Yield the files that match each pattern in turn."""
    for pattern in patterns:
        yield from sorted((name for name in package.names if re.fullmatch(pattern, name)), key=natural_order)
