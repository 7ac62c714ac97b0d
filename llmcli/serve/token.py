"""The token that clients must send: from the environment, from a private file, or generated."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping

from llmcli.errors import ConfigError, MissingError, UnsafeKey

TOKEN_VARIABLE = "LLMCLI_SERVE_TOKEN"  # noqa: S105 (the name of a variable)
_MAX_TOKEN_FILE_BYTES = 4096
_TOKEN_BYTES = 24


def find_token(file: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the token that the user gave, None where there is none: ``file`` overrides the environment.

    Raises ``MissingError`` for a file that cannot be read or holds none, ``UnsafeKey`` for one that others may read or
    write, and ``ConfigError`` for a variable that can be none.
    """
    if file is not None:
        token = _read_token_file(file)
        if not _is_valid_token(token):
            raise MissingError(file, kind="token file", detail="expected one line of visible ASCII characters")
        return token
    token = environ.get(TOKEN_VARIABLE, "")
    if token and not _is_valid_token(token):
        raise ConfigError(TOKEN_VARIABLE, origin="environment", detail="expected visible ASCII characters")
    return token or None


def generate_token() -> str:
    """Return a new token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _read_token_file(file: str) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a FIFO would block for ever
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise MissingError(file, kind="token file", detail="not a regular file")
            if status.st_mode & 0o077 or status.st_uid not in {os.getuid(), 0}:
                raise UnsafeKey(file)
            return os.read(descriptor, _MAX_TOKEN_FILE_BYTES).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingError(file, kind="token file", detail=getattr(error, "strerror", None) or str(error)) from error


def _is_valid_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
