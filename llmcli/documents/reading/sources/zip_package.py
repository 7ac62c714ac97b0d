"""ZIP archives of untrusted office documents and books, and the XML in them.

What is unpacked is bounded, whatever the archive says. Of XML, no entities are defined, and depth and number of
elements are bounded.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Container, Mapping
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from llmcli.errors import BadDocument

MAX_UNPACKED_BYTES = 256 << 20
"""Bytes that are unpacked from one archive."""
MAX_PACKAGE_FILES = 20_000
"""Files in one archive."""
_ENCRYPTED_FLAG = 0x1
MAX_XML_DEPTH = 200
"""Levels of nested elements."""
MAX_XML_ELEMENTS = 5_000_000
"""Elements of one XML file."""


class ZipPackage:
    """The files of an archive; raises ``BadDocument`` for a damaged, encrypted or oversized one."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:  # zipfile: unknown version
            raise BadDocument(detail=f"the file is damaged: {error}") from error
        if len(self._zip.infolist()) > MAX_PACKAGE_FILES:
            raise BadDocument(detail=f"it holds more than {MAX_PACKAGE_FILES:,} files")
        self._bytes_left = MAX_UNPACKED_BYTES
        self._read_names: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The names of the files in the archive."""
        return self._zip.namelist()

    def checksums(self, left_out: Container[str]) -> list[str]:
        """Return a line for each file but those of ``left_out``: its checksum and name."""
        return [f"{each.CRC:08x} {each.filename}" for each in self._zip.infolist() if each.filename not in left_out]

    def unpacked_size(self, *suffixes: str) -> int:
        """Return the bytes that the files with these suffixes unpack to; ``zipfile`` reads no more than that."""
        return sum(each.file_size for each in self._zip.infolist() if each.filename.endswith(suffixes))

    def read(self, name: str) -> bytes:
        """Unpack a file. Raises ``BadDocument`` if it is missing, damaged, encrypted or too large."""
        try:
            entry = self._zip.getinfo(name)
        except KeyError as error:
            raise BadDocument(detail=f"the file is damaged: {name} is missing") from error
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise BadDocument(detail="it is encrypted; save it without a password")
        if name not in self._read_names:
            self._bytes_left -= entry.file_size
            self._read_names.add(name)
        if self._bytes_left < 0:
            raise BadDocument(detail=f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
        try:
            return self._zip.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise BadDocument(detail=f"the file is damaged: {name}: {error}") from error


def scan_xml(
    data: bytes,
    what: str,
    start: Callable[[str, Mapping[str, str]], object] | None = None,
    end: Callable[[str], object] | None = None,
    text: Callable[[str], object] | None = None,
) -> int:
    """Parse ``data``, calling back for each element with its local name, and attributes named "namespace}name".

    Returns the number of elements. Raises ``BadDocument`` if it is not well-formed, defines entities or exceeds the
    limits; ``what`` names it then.
    """
    depth = count = 0

    def on_start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth, count
        depth += 1
        count += 1
        if depth > MAX_XML_DEPTH:
            raise BadDocument(detail=f"{what} is nested deeper than {MAX_XML_DEPTH} levels")
        if count > MAX_XML_ELEMENTS:
            raise BadDocument(detail=f"{what} has more than {MAX_XML_ELEMENTS:,} elements")
        if start is not None:
            start(name.rpartition("}")[2], attributes)

    def on_end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(name.rpartition("}")[2])

    def refuse_entity(*_: object) -> None:
        raise BadDocument(detail=f"{what} defines entities, which documents have no need of")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
    parser.EntityDeclHandler = refuse_entity
    if text is not None:
        parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an unknown encoding
        raise BadDocument(detail=f"{what} is not well-formed: {error}") from error
    return count


def parse_xml(data: bytes, what: str) -> Element:
    """Return the root of an XML file, names as in ``scan_xml``. Raises what ``scan_xml`` raises."""
    builder = TreeBuilder()
    scan_xml(data, what, lambda name, attributes: builder.start(name, dict(attributes)), builder.end, builder.data)
    return builder.close()
