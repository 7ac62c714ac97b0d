"""The token that clients must send: from the environment, from a private file, or generated."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from llmcli.errors import ConfigError, MissingError
from llmcli.files import private_files

TOKEN_VARIABLE = "LLMCLI_SERVE_TOKEN"  # noqa: S105 (the name of a variable)
_MAX_TOKEN_FILE_BYTES = 4096
_TOKEN_BYTES = 24


def find_token(file: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the user's token, None if there is none; ``file`` overrides the environment.

    Raises ``MissingError`` for a file that cannot be read or holds no token, ``UnsafeKey`` for one that others may read
    or write, and ``ConfigError`` for a variable that holds no valid token.
    """
    if file is not None:
        token = private_files.read_secret(file, kind="token file", max_bytes=_MAX_TOKEN_FILE_BYTES)
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


def _is_valid_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
