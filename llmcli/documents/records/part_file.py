"""The output of a shard, a part: a file of rows, and ``PART.shard`` beside it, which says where they belong.

The rows of a part are those of any output; nothing is added to them. Where they belong is in the index: for each record
of the shard, also for one without a row, 12 bytes with its index in the input (64 bits) and the bytes of its row (32
bits; in a Parquet file, the number of its rows), little-endian. The description of the part follows as JSON, its length
(32 bits) and a mark, as at the end of a Parquet file. So parts of any format are merged without being parsed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from llmcli.errors import BadDocument, LlmError, MissingError
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files.resumable_file import ResumableFile

INDEX_SUFFIX = ".shard"
_ENTRY = struct.Struct("<QI")
_END = struct.Struct("<I8s")
_MARK = b"llmpart1"
_BUFFER_BYTES = 1 << 16
_BLOCK_BYTES = _ENTRY.size << 12
_MAX_INFO_BYTES = 16 << 20


@frozen
class PartInfo:
    """What a complete part is, as JSON values.

    ``shard`` is its ``I/N``, and ``manifest`` everything else that its results depend on, apart from the input.
    ``records`` and ``input_digest`` identify the whole input. ``format`` is that of the rows; the first ``head_bytes``
    of the part precede them. ``output_bytes`` and ``output_digest`` are of the part. ``failed`` records have errors,
    ``incomplete`` ones a result that was cut. ``summary`` is the state of the verb's summary, None without one.
    ``keeps_failed``: records that failed have rows.
    """

    shard: str
    manifest: Mapping[str, Any]
    records: int
    input_digest: str
    format: str
    head_bytes: int
    failed: int
    incomplete: int
    keeps_failed: bool
    summary: Mapping[str, Any] | None
    output_bytes: int = 0
    output_digest: str = ""


def index_path(part: Path) -> Path:
    """Return the path of the index of a part."""
    return part.with_name(part.name + INDEX_SUFFIX)


class PartFile(ResumableFile):
    """The partial output of a shard with its index: both are kept, named and removed together.

    The index gets its name first. If a kill comes between the two, the digest of the output does not fit until the job
    is resumed.
    """

    def __init__(self, path: str) -> None:
        """Raises as ``ResumableFile`` does."""
        super().__init__(path)
        try:
            self._index = ResumableFile(str(index_path(self.target)))
        except LlmError:
            super().close_unused()
            raise
        self._buffer = bytearray()

    def add_row(self, input_index: int, length: int) -> None:
        """Note the row of a record; ``length`` is 0 if it has none."""
        self._buffer += _ENTRY.pack(input_index, length)
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def truncate_rows(self, count: int) -> None:
        """Keep the rows of the first ``count`` records in the index. Raises as ``truncate`` does."""
        self._buffer.clear()
        self._index.truncate(count * _ENTRY.size)

    def describe(self, info: PartInfo) -> None:
        """Complete the index; ``info`` lacks the size and the digest of the output. Raises ``OutputError``."""
        super().sync()
        with self.partial.open("rb") as file:
            content = {**asdict(info), "output_bytes": self.size, "output_digest": digest_of(file)}
        data = json.dumps(content).encode()
        self._buffer += data + _END.pack(len(data), _MARK)
        self._flush()

    @property
    def has_index(self) -> bool:
        """Whether the complete output has an index."""
        return self._index.target.exists()

    def _flush(self) -> None:
        self._index.write(bytes(self._buffer))
        self._buffer.clear()

    def sync(self) -> None:
        """Wait until output and index are on the disk. Raises ``OutputError``."""
        self._flush()
        self._index.sync()
        super().sync()

    def _place(self) -> None:
        if self._index.initial_size or self._index.size:
            self._index.commit()
        else:  # a kill came after it had got its name
            self._index.discard()
        super()._place()

    def close(self) -> None:
        """Close both files and keep them."""
        with suppress(LlmError):  # a checkpoint has failed before, and what follows the last one is cut off
            self._flush()
        self._index.close()
        super().close()

    def close_unused(self) -> None:
        """Close both files; keep them only if an earlier run has left them."""
        if self.initial_size or self._index.initial_size:
            self.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Close both files and remove them."""
        self._index.discard()
        super().discard()


class CompletePart:
    """A complete part on the disk: its description and, one by one, the entries of its index."""

    def __init__(self, path: str) -> None:
        """Raises ``MissingError`` if the part or its index cannot be read, and ``BadDocument`` for a damaged index."""
        self.path = path
        self._index_path = index_path(Path(path))
        try:
            self.size = Path(path).stat().st_size
            with self._index_path.open("rb") as file:
                self.info, entry_bytes = _read_info(file)
        except OSError as error:
            raise MissingError(error.filename or path, kind="input", detail=error.strerror or "") from error
        except (ValueError, TypeError, struct.error) as error:
            raise BadDocument(str(self._index_path), detail="it is no complete index of a part") from error
        self._entry_bytes = entry_bytes

    def entries(self) -> Iterator[tuple[int, int]]:
        """Yield for each record of the shard its index in the input and the bytes of its row.

        The index is open only while a block is read, since a job may have thousands of parts.
        """
        for begin in range(0, self._entry_bytes, _BLOCK_BYTES):
            with self._index_path.open("rb") as file:
                file.seek(begin)
                data = file.read(min(self._entry_bytes - begin, _BLOCK_BYTES))
            yield from _ENTRY.iter_unpack(data)

    def open(self) -> BufferedReader:
        """Open the part. Raises ``MissingError``."""
        try:
            return Path(self.path).open("rb")
        except OSError as error:
            raise MissingError(self.path, kind="input", detail=error.strerror or "") from error

    def require_unchanged(self) -> None:
        """Raise ``BadDocument`` if the part is not what its job has written."""
        info = self.info
        if self.size < info.output_bytes:
            raise BadDocument(self.path, detail=f"it was cut: it has {self.size:,} of {info.output_bytes:,} bytes")
        with self.open() as file:
            if self.size != info.output_bytes or digest_of(file) != info.output_digest:
                raise BadDocument(self.path, detail="it has changed since its job was complete")


def _read_info(file: BufferedReader) -> tuple[PartInfo, int]:
    """Return the description of a part and the bytes of its entries.

    Raises ``ValueError``, ``TypeError``, ``struct.error``.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size))
    length, mark = _END.unpack(file.read())
    begin = size - _END.size - length
    if mark != _MARK or not 0 <= length <= _MAX_INFO_BYTES or begin < 0 or begin % _ENTRY.size:
        raise ValueError("no index")
    file.seek(begin)
    content = json.loads(file.read(length))
    return PartInfo(**content), begin


def digest_of(file: Any) -> str:
    """Return the digest of a file that is open, in hexadecimal."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
