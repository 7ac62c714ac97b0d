"""Files of an archive are replaced; all other bytes are those of the archive."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from package_files import make_archive

from llmcli.documents.formats.packages.zip_patch import replace_files
from llmcli.errors import BadDocument

FILES = {"mimetype=": "application/x", "a.xml": "<a>one</a>" * 50, "b.xml": "<b/>", "c.bin=": bytes(range(256))}


def entries(data):
    """Return the files of an archive without what their place decides."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return [(e.filename, e.date_time, e.compress_type, e.extra, e.comment, e.external_attr, archive.read(e)) for e in archive.infolist()], archive.comment  # fmt: skip


class _Pipe(io.RawIOBase):
    """A stream that cannot seek, so that sizes follow the data."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


def make_streamed():
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.xml", "b.xml"):
            archive.writestr(name, "<a>one</a>" * 40)
    return bytes(pipe.data)


def make_zip64():
    """Return an archive whose entries, offsets and end are those of ZIP64, as Java's streams write some."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.xml", "b.xml", "c.xml"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(b"<a>one</a>" * 40)
    data = stream.getvalue()
    end = data.rfind(b"PK\5\6")
    count, _, size, start = struct.unpack_from("<2H2L", data, end + 8)
    records, at = b"", start
    while at < start + size:
        fields = list(struct.unpack_from("<4s6H3L5H2L", data, at))
        name = data[at + 46 : at + 46 + fields[10]]
        extra = struct.pack("<2HQ", 1, 8, fields[16])
        at += 46 + fields[10] + fields[11] + fields[12]
        fields[11], fields[16] = len(extra), 0xFFFFFFFF
        records += struct.pack("<4s6H3L5H2L", *fields) + name + extra
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(records), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(records), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:start] + records + end_64 + locator + last


def test_only_the_changed_files_change():
    """Dates, methods, extra fields, comments, attributes and order stay, of the changed file too."""
    data = make_archive(FILES)
    assert replace_files(data, {}) is data
    new = replace_files(data, {"a.xml": b"<a>two</a>", "c.bin": b"x"})
    (before, comment), (after, same) = entries(data), entries(new)
    assert comment == same == b"made by hand"
    assert [row[:6] for row in before] == [row[:6] for row in after]
    assert {row[0]: row[6] for row in after if row not in before} == {"a.xml": b"<a>two</a>", "c.bin": b"x"}
    start, end = data.index(b"b.xml") - 30, data.index(b"c.bin") - 30
    assert data[start:end] in new  # the compressed bytes of another file
    assert new.startswith(data[: data.index(b"a.xml")][:-30])


@pytest.mark.parametrize("make", [make_streamed, make_zip64])
def test_archives_of_streams_and_of_zip64(make):
    """Where sizes follow the data or are in extra fields."""
    data = make()
    new = replace_files(data, {"a.xml": b"<a>other</a>"})
    (before, _), (after, _) = entries(data), entries(new)
    assert [row[0] for row in before] == [row[0] for row in after]
    assert after[0][6] == b"<a>other</a>" and [row[6] for row in before[1:]] == [row[6] for row in after[1:]]
    twice = replace_files(new, {"b.xml": b"<b/>"})
    assert [row[6] for row in entries(twice)[0]][:2] == [b"<a>other</a>", b"<b/>"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[:-60], "no directory"),
        (lambda data: data.replace(b"PK\3\4", b"PK\3\5", 1), "not there"),
        (lambda data: data.replace(b"b.xml", b"a.xml"), "one name"),
        (lambda data: data[: data.rfind(b"PK\5\6")][:-100] + data[data.rfind(b"PK\5\6") :], "damaged"),
    ],
)
def test_damaged_archives_are_refused(damage, problem):
    """With the reason."""
    with pytest.raises(BadDocument) as caught:
        replace_files(damage(make_archive(FILES, b"")), {"a.xml": b"x"})
    assert problem in caught.value.detail


def test_files_that_overlap_are_refused():
    """As in archives that unpack one file many times."""
    data = bytearray(make_archive({"a.xml": "<a/>", "b.xml": "<b/>"}, b""))
    at = data.index(b"PK\1\2")
    struct.pack_into("<L", data, at + 20, 10_000)
    with pytest.raises(BadDocument, match="overlap"):
        replace_files(bytes(data), {"b.xml": b"x"})
