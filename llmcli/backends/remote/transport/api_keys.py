"""The key of a server: read from its configured source, sent to that server alone, and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmcli.backend_config import ServerConfig
from llmcli.errors import ConfigError
from llmcli.files import private_files

_REDACTED = "***"
_MAX_KEY_FILE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and a description of its source; both "" if the server needs none."""

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
        key = ApiKey(private_files.read_secret(path, kind="key file", max_bytes=_MAX_KEY_FILE_BYTES), str(path))
        if not key.secret:
            raise ConfigError(f"backends.{server.name}.key_file", detail=f"{path} is empty")
    else:
        return ApiKey()
    if not (key.secret.isascii() and key.secret.isprintable() and " " not in key.secret):
        raise ConfigError(key.origin, detail="it contains characters that are invalid in a key")
    if not (server.is_encrypted or server.is_loopback or server.plain_http):
        detail = "the key would be sent unencrypted; set plain_http: true to allow that"
        raise ConfigError(f"backends.{server.name}.base_url", detail=detail)
    return key
