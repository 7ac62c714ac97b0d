"""Replaces files in a ZIP archive; every other byte of it is copied.

The archive keeps its order, names, dates, attributes, comments, and how its other files are compressed. Source:
PKWARE's APPNOTE.TXT, 4.3 to 4.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCAL, _CENTRAL, _END_MARK, _END_64_MARK, _LOCATOR_MARK = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR_FLAG, _UTF8_FLAG = 0x8, 0x800
_IN_ZIP64 = 0xFFFFFFFF
"""A size or an offset that is in the extra field of ZIP64."""
_ZIP64_EXTRA = 1
_MAX_COMMENT_BYTES = 0xFFFF
_COMPRESSED_BYTES = 1 << 20
"""Bytes that are compressed at once: a longer native call would delay signals."""


@frozen
class _Entry:
    """A file in the central directory: the offset of its record there, its name, and the offset of its local header."""

    record: int
    record_end: int
    name: str
    offset: int
    fields: tuple[int, ...]


@frozen
class _Directory:
    """The central directory: its offset, its end, the offset of the last record of the archive, and that of ZIP64's."""

    start: int
    end: int
    end_record: int
    end_record_64: int | None


@frozen
class _NewFile:
    """A file that replaces one of the archive."""

    method: int
    checksum: int
    size: int
    data: bytes


def replace_files(archive: bytes, changed: Mapping[str, bytes]) -> bytes:
    """Return an archive with other content of some of its files. Raises ``BadDocument`` for a damaged archive."""
    if not changed:
        return archive
    try:
        directory = _find_directory(archive)
        entries = list(_read_entries(archive, directory))
        return _write_archive(archive, directory, entries, changed)
    except struct.error as error:
        raise BadDocument(detail="the file is damaged: its directory is cut off") from error


def _find_directory(archive: bytes) -> _Directory:
    end = archive.rfind(_END_MARK, max(0, len(archive) - _END.size - _MAX_COMMENT_BYTES))
    if end < 0:
        raise BadDocument(detail="the file is damaged: it has no directory")
    size, start = _END.unpack_from(archive, end)[5:7]
    end_64 = None
    locator = end - _LOCATOR_64.size
    if locator >= 0 and archive.startswith(_LOCATOR_MARK, locator):
        end_64 = _LOCATOR_64.unpack_from(archive, locator)[2]
        mark, *values = _END_64.unpack_from(archive, end_64)
        if mark != _END_64_MARK:
            raise BadDocument(detail="the file is damaged: its directory is not where it should be")
        size, start = values[7], values[8]
    return _Directory(start, start + size, end, end_64)


def _read_entries(archive: bytes, directory: _Directory) -> Iterator[_Entry]:
    at = directory.start
    while at < directory.end:
        mark, *fields = _CENTRAL_HEADER.unpack_from(archive, at)
        name_size, extra_size, comment_size = fields[9:12]
        names = at + _CENTRAL_HEADER.size
        raw, extra = archive[names : names + name_size], archive[names + name_size : names + name_size + extra_size]
        end = names + name_size + extra_size + comment_size
        offset = fields[15]
        if offset == _IN_ZIP64:
            place = _offset_in_extra(extra, fields)
            offset = None if place is None else struct.unpack_from("<Q", extra, place)[0]
        if mark != _CENTRAL or offset is None or not archive.startswith(_LOCAL, offset):
            raise BadDocument(detail="the file is damaged: its directory names a file that is not there")
        yield _Entry(at, end, raw.decode("utf-8" if fields[2] & _UTF8_FLAG else "cp437"), offset, tuple(fields))
        at = end


def _write_archive(archive: bytes, directory: _Directory, entries: list[_Entry], changed: Mapping[str, bytes]) -> bytes:
    ordered = sorted(entries, key=lambda entry: entry.offset)
    ends = [entry.offset for entry in ordered[1:]] + [directory.start]
    parts = [archive[: ordered[0].offset]]
    length = len(parts[0])
    offsets: dict[int, int] = {}
    new: dict[int, _NewFile] = {}
    for entry, end in zip(ordered, ends, strict=True):
        check_interrupt()
        _require_apart(archive, entry, end)
        offsets[entry.record] = length
        if entry.name in changed:
            new[entry.record] = _compress(changed[entry.name], entry.fields[3])
            parts += [_local_header(archive, entry, new[entry.record]), new[entry.record].data]
            length += len(parts[-2]) + len(parts[-1])
        else:
            parts.append(archive[entry.offset : end])
            length += end - entry.offset
    if len(new) != len(changed):
        raise BadDocument(detail="the file is damaged: two of its files have one name, or one has two names")
    start = length
    for entry in entries:
        parts.append(_central_record(archive, entry, offsets[entry.record], new.get(entry.record)))
        length += len(parts[-1])
    return b"".join([*parts, _tail(archive, directory, start, length - start)])


def _require_apart(archive: bytes, entry: _Entry, end: int) -> None:
    """Raise ``BadDocument`` if the data of a file overlaps with what comes after it."""
    name_size, extra_size = _LOCAL_HEADER.unpack_from(archive, entry.offset)[9:11]
    size = 0 if entry.fields[7] == _IN_ZIP64 else entry.fields[7]
    if entry.offset + _LOCAL_HEADER.size + name_size + extra_size + size > end:
        raise BadDocument(detail="the file is damaged: two of its files overlap")


def _compress(data: bytes, method: int) -> _NewFile:
    """Return a file, stored if it was stored, else deflated."""
    if method == _STORED:
        return _NewFile(_STORED, zlib.crc32(data), len(data), data)
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = []
    for at in range(0, len(data), _COMPRESSED_BYTES):
        check_interrupt()
        parts.append(packer.compress(data[at : at + _COMPRESSED_BYTES]))
    return _NewFile(_DEFLATED, zlib.crc32(data), len(data), b"".join([*parts, packer.flush()]))


def _local_header(archive: bytes, entry: _Entry, new: _NewFile) -> bytes:
    """Return the local header of a changed file, with its sizes: no descriptor follows the data."""
    mark, version, flags, _, time, date, *_, name_size, extra_size = _LOCAL_HEADER.unpack_from(archive, entry.offset)
    names = entry.offset + _LOCAL_HEADER.size
    name = archive[names : names + name_size]
    extra = _without_zip64(archive[names + name_size : names + name_size + extra_size])
    header = _LOCAL_HEADER.pack(
        mark, version, flags & ~_DESCRIPTOR_FLAG, new.method, time, date, new.checksum, len(new.data), new.size, name_size, len(extra)
    )  # fmt: skip
    return header + name + extra


def _central_record(archive: bytes, entry: _Entry, offset: int, new: _NewFile | None) -> bytes:
    """Return the record of a file in the central directory, with its new offset."""
    fields = list(entry.fields)
    names = entry.record + _CENTRAL_HEADER.size
    name = archive[names : names + fields[9]]
    extra = archive[names + fields[9] : names + fields[9] + fields[10]]
    comment = archive[entry.record_end - fields[11] : entry.record_end]
    if new is not None:
        extra = _without_zip64(extra)
        fields[2] &= ~_DESCRIPTOR_FLAG
        fields[3], fields[6:9] = new.method, [new.checksum, len(new.data), new.size]
        fields[10], fields[15] = len(extra), offset
    elif fields[15] == _IN_ZIP64:
        place = _offset_in_extra(extra, fields)
        assert place is not None  # it was read there
        extra = extra[:place] + struct.pack("<Q", offset) + extra[place + 8 :]
    else:
        fields[15] = offset
    return _CENTRAL_HEADER.pack(_CENTRAL, *fields) + name + extra + comment


def _tail(archive: bytes, directory: _Directory, start: int, size: int) -> bytes:
    """Return what follows the central directory, which is now elsewhere."""
    tail = bytearray(archive[directory.end :])
    moved = start + size - directory.end
    if directory.end_record_64 is not None:
        struct.pack_into("<2Q", tail, directory.end_record_64 - directory.end + _END_64.size - 16, size, start)
        locator = directory.end_record - _LOCATOR_64.size - directory.end
        struct.pack_into("<Q", tail, locator + 8, directory.end_record_64 + moved)
    place = directory.end_record - directory.end + 12
    for value in (size, start):
        if struct.unpack_from("<L", tail, place)[0] != _IN_ZIP64:
            struct.pack_into("<L", tail, place, value)
        place += 4
    return bytes(tail)


def _extra_fields(extra: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the id of each extra field, and where its header and its end are."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        yield kind, at, min(at + 4 + size, len(extra))
        at += 4 + size


def _without_zip64(extra: bytes) -> bytes:
    """Return the extra fields without the sizes of ZIP64, which are those of the old data."""
    kept = [extra[start:end] for kind, start, end in _extra_fields(extra) if kind != _ZIP64_EXTRA]
    return b"".join(kept) if len(kept) < sum(1 for _ in _extra_fields(extra)) else extra


def _offset_in_extra(extra: bytes, fields: list[int] | tuple[int, ...]) -> int | None:
    """Return where the extra field of ZIP64 has the offset of the local header: after the sizes that are there."""
    for kind, start, end in _extra_fields(extra):
        place = start + 4 + 8 * sum(fields[index] == _IN_ZIP64 for index in (7, 8))
        if kind == _ZIP64_EXTRA and place + 8 <= end:
            return place
    return None
