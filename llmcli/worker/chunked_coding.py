"""Bodies in chunks, without trailers or extensions, as workers and their clients write them (RFC 9112, section 7.1)."""

from __future__ import annotations

_MAX_LINE_BYTES = 1 << 16


def encode_chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkedDecoder:
    """Decodes the body from a connection's bytes, however they are split."""

    def __init__(self) -> None:
        self.complete = False
        """Whether the last chunk has arrived."""
        self._bytes_left = 0  # of the current chunk's data
        self._line = b""  # the beginning of a line
        self._in_last_chunk = False

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body that ``data`` contains. Raises ``ValueError`` for a malformed chunk."""
        pieces = []
        data, self._line, position = self._line + data, b"", 0
        while position < len(data) and not self.complete:
            if self._bytes_left:
                piece = data[position : position + self._bytes_left]
                self._bytes_left -= len(piece)
                position += len(piece)
                pieces.append(piece)
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._line = data[position:]
                if len(self._line) > _MAX_LINE_BYTES:
                    raise ValueError("the line is too long")
                break
            self._start_chunk(data[position:end])
            position = end + 2
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _start_chunk(self, line: bytes) -> None:
        """Take a line: the size of a chunk, or nothing after the data of one."""
        if line and not self._in_last_chunk:
            self._bytes_left = int(line, 16)
            self._in_last_chunk = not self._bytes_left
        elif self._in_last_chunk:
            self.complete = True
