"""ZIP archives of untrusted office documents and books: what is unpacked is bounded, whatever the archive says."""

from __future__ import annotations

import io
import zipfile
import zlib

from llmcli.errors import BadDocument

MAX_UNPACKED_BYTES = 256 << 20
"""Bytes that are unpacked from one archive."""
MAX_PACKAGE_FILES = 20_000
"""Files in one archive."""
_ENCRYPTED_FLAG = 0x1


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

    @property
    def names(self) -> list[str]:
        """The names of the files in the archive."""
        return self._zip.namelist()

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
        self._bytes_left -= entry.file_size
        if self._bytes_left < 0:
            raise BadDocument(detail=f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
        try:
            return self._zip.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise BadDocument(detail=f"the file is damaged: {name}: {error}") from error
