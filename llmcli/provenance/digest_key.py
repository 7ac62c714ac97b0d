"""The user's key for digests of private texts.

A plain digest gives a short text away: a reader can hash likely texts until one fits. So the texts of a user
get HMAC-SHA-256 (RFC 2104) with a key that only the user has. A reader with the key can check the digests.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from llmcli.errors import CannotCreate, ConfigError
from llmcli.fast_dataclass import field, frozen
from llmcli.files import private_files
from llmcli.interrupt import Interrupt

PLAIN, KEYED = "sha256", "hmac-sha256"
"""The names of the algorithms in a set of digests, as in-toto writes it: {algorithm: hexadecimal digits}."""
_SECRET_BYTES = 32
_BLOCK_BYTES = 1 << 20
_MAX_FILE_BYTES = 4096
_ID_TEXT = b"llmcli: the name of this key"
_ID_DIGITS = 16


@frozen
class DigestKey:
    """A key; ``id`` tells keys apart and gives nothing of the key away."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The first digits of the digest of a fixed text."""
        return self.digest(_ID_TEXT)[KEYED][:_ID_DIGITS]

    def start(self) -> hmac.HMAC:
        """Return a digest of nothing yet, to be updated."""
        return hmac.new(self.secret, digestmod="sha256")

    def digest(self, data: bytes) -> dict[str, str]:
        """Return the digests of ``data``."""
        return {KEYED: hmac.digest(self.secret, data, "sha256").hex()}

    def digest_file(self, path: str, interrupt: Interrupt) -> dict[str, str]:
        """Return the digests of a file. Raises ``OSError`` and what ``interrupt.check()`` raises."""
        return {KEYED: _digest_blocks(path, self.start(), interrupt)}


def digest_public_file(path: str, interrupt: Interrupt) -> dict[str, str]:
    """Return the plain digests of a file that is no secret, or goes along with its statement.

    Raises as ``digest_file``.
    """
    return {PLAIN: _digest_blocks(path, hashlib.sha256(), interrupt)}


def digest_public(data: bytes) -> dict[str, str]:
    """Return the plain digests of ``data``."""
    return {PLAIN: hashlib.sha256(data).hexdigest()}


def _digest_blocks(path: str, digest: hmac.HMAC | hashlib._Hash, interrupt: Interrupt) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 (a Path would drop a slash at the end)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            interrupt.check()
    return digest.hexdigest()


def is_keyed(digests: Mapping[str, str]) -> bool:
    """Whether a key is needed to check a set of digests."""
    return KEYED in digests


def load_key(path: Path) -> DigestKey | None:
    """Return the key in a file; None if there is no such file.

    Raises ``AccessDenied``, ``MissingError``, ``ConfigError``.
    """
    if not private_files.exists(path):
        return None
    text = private_files.read_secret(path, kind="digest key", max_bytes=_MAX_FILE_BYTES)
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise ConfigError(str(path), detail="it holds no key; move it away, and llm creates a new one")
    return DigestKey(secret)


def load_or_create_key(path: Path) -> DigestKey:
    """Return the key in a file, which is created if it does not exist. Raises as ``load_key``, and ``CannotCreate``.

    Of several processes that create it at once, all get the same key.
    """
    found = load_key(path)
    if found is not None:
        return found
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        private_files.make_directory(path.parent)
        private_files.write_file(temporary, os.urandom(_SECRET_BYTES).hex().encode() + b"\n")
        try:
            with suppress(FileExistsError):  # another process was faster
                os.link(temporary, path)
        finally:
            temporary.unlink()
    except OSError as error:
        raise CannotCreate(str(path), detail=error.strerror or "") from error
    created = load_key(path)
    if created is None:
        raise CannotCreate(str(path), detail="it was removed while it was created")
    return created
