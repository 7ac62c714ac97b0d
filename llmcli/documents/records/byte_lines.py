"""The lines of a stream of bytes, one at a time, as they arrive."""

from __future__ import annotations

from io import BufferedReader

from llmcli.documents.reading.document import refuse_binary
from llmcli.errors import BadDocument, BinaryInput, LlmError, NotUtf8

MAX_RECORD_BYTES = 64 << 20
"""The longest record: a larger one is most likely an error of the file, such as a quote that is never closed."""
_BOM = b"\xef\xbb\xbf"
_SKIP_BYTES = 1 << 20


class ByteLines:
    """Reads lines from a stream; ``number`` is that of the last line, from 1, and ``offset`` the bytes before it.

    ``end`` is the number of bytes read.
    """

    def __init__(self, stream: BufferedReader, name: str) -> None:
        self.name = name
        self.number = 0
        self.offset = 0
        self.end = 0
        self.is_too_long = False
        """Whether the last line exceeds ``MAX_RECORD_BYTES``: ``read`` has returned an empty one in its place."""
        self._stream = stream
        self._pushed_back: bytes | None = None

    def read(self) -> bytes:
        """Return the next line with its end, b"" after the last one; a BOM at the beginning is removed.

        Raises ``BinaryInput`` and ``NotUtf8`` if the first line shows that the input is no text, and what the stream
        raises.
        """
        if self._pushed_back is not None:
            line, self._pushed_back = self._pushed_back, None
            self.number += 1
            return line
        if self.end == 0:
            refuse_binary(self._stream.peek(1).partition(b"\n")[0], self.name)
        line = self._stream.readline(MAX_RECORD_BYTES + 1)
        self.offset, self.end = self.end, self.end + len(line)
        if self.offset == 0:
            line = line.removeprefix(_BOM)
        self.is_too_long = len(line) > MAX_RECORD_BYTES
        while self.is_too_long and line and not line.endswith(b"\n"):
            line = self._stream.readline(_SKIP_BYTES)
            self.end += len(line)
        self.number += bool(line) or self.is_too_long
        return b"\n" if self.is_too_long else line

    def push_back(self, line: bytes) -> None:
        """Return the last line, so that the next ``read`` returns it again."""
        self._pushed_back = line
        self.number -= 1

    def decode(self, line: bytes) -> tuple[str, LlmError | None]:
        """Return the text of the last line, and what is wrong with it; invalid bytes are replaced."""
        if self.is_too_long:
            return "", BadDocument(self.name, line=self.number, detail="the line is longer than 64 MiB")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            return line.decode(errors="replace"), NotUtf8(self.name, offset=self.offset + error.start)
        return text, BinaryInput(self.name) if "\0" in text else None
