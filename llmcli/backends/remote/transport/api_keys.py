"""The key of a server: read from its configured source, sent to that server alone, and never shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmcli.errors import ConfigError, MissingError, UnsafeKey
from llmcli.server_config import ServerConfig

_REDACTED = "***"
_MAX_KEY_FILE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, and in words where it came from; both "" where the server wants none."""

    secret: str = field(default="", repr=False)
    origin: str = ""

    def headers(self) -> dict[str, str]:
        """Return the header that carries it."""
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def redact(self, text: str) -> str:
        """Return ``text``, a message of a server, without the key."""
        return text.replace(self.secret, _REDACTED) if self.secret else text


def find_key(server: ServerConfig, environ: Mapping[str, str]) -> ApiKey:
    """Return the key of ``server``.

    Raises ``ConfigError`` (not set, not a key, would travel unencrypted), ``MissingError`` (no such file) and
    ``UnsafeKey`` (others may read the file).
    """
    if server.key_env is not None:
        key = ApiKey(environ.get(server.key_env, "").strip(), server.key_env)
        if not key.secret:
            raise ConfigError(f"backends.{server.name}.key_env", detail=f"the variable {server.key_env} is not set")
    elif server.key_file is not None:
        path = Path(server.key_file).expanduser()
        key = ApiKey(_read_key_file(path), str(path))
        if not key.secret:
            raise ConfigError(f"backends.{server.name}.key_file", detail=f"{path} is empty")
    else:
        return ApiKey()
    if not (key.secret.isascii() and key.secret.isprintable() and " " not in key.secret):
        raise ConfigError(key.origin, detail="it holds characters that no key has")
    if not (server.is_encrypted or server.is_loopback or server.plain_http):
        detail = "a key would travel unencrypted; set plain_http: true if that may be"
        raise ConfigError(f"backends.{server.name}.base_url", detail=detail)
    return key


def _read_key_file(path: Path) -> str:
    """Return what stands in a key file that only its owner may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a FIFO would block
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise MissingError(str(path), kind="key file", detail="not a regular file")
            if status.st_mode & 0o077 or status.st_uid not in {os.getuid(), 0}:
                raise UnsafeKey(str(path))
            return os.read(descriptor, _MAX_KEY_FILE_BYTES).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        detail = getattr(error, "strerror", None) or str(error)
        raise MissingError(str(path), kind="key file", detail=detail) from error
