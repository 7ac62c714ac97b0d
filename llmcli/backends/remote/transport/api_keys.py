"""The key of a server: read from its configured source, sent to that server alone, and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmcli.config.backend_config import ServerConfig, usual_key_variable
from llmcli.control_characters import is_visible_ascii
from llmcli.errors import ConfigError, Unauthorized
from llmcli.fast_dataclass import field, frozen
from llmcli.files import private_files

_REDACTED = "***"
MAX_KEY_FILE_BYTES = 16_384
DEFAULT_KEY_VARIABLE = "LLMCLI_API_KEY"
"""The variable with the key of a server that is given by its address."""


@frozen
class ApiKey:
    """A key and a description of its source; both "" if the server needs none."""

    secret: str = field(default="", repr=False)
    origin: str = ""

    def redact(self, text: str) -> str:
        """Return ``text``, a message of a server, without the key."""
        return text.replace(self.secret, _REDACTED) if self.secret else text


def find_key(server: ServerConfig, environ: Mapping[str, str], stored_keys: Path) -> ApiKey:
    """Return the key of ``server``.

    It comes from ``key_env`` or ``key_file``. Otherwise a named server has the key that was stored for its name in the
    directory ``stored_keys``, or that in the usual variable of its host; a server given by its address has that in
    ``LLMCLI_API_KEY``.

    Raises ``ConfigError`` (not set, not a key, would travel unencrypted), ``MissingError`` (no such file) and
    ``AccessDenied`` (others may read the file). ``Unauthorized``: a hosted server needs one, and there is none.
    """
    key = _read_key(server, environ, stored_keys)
    if not key.secret:
        return ApiKey()
    if not is_visible_ascii(key.secret):
        raise ConfigError(key.origin, detail="it contains characters that are invalid in a key")
    if not (server.is_encrypted or server.is_loopback or server.plain_http):
        advice = "; set plain_http: true to allow that" if server.name else ""
        raise ConfigError(_setting(server, "base_url"), detail=f"the key would be sent unencrypted{advice}")
    return key


def _read_key(server: ServerConfig, environ: Mapping[str, str], stored_keys: Path) -> ApiKey:
    if server.key_env is not None:
        key = ApiKey(environ.get(server.key_env, "").strip(), server.key_env)
        if not key.secret:
            raise ConfigError(_setting(server, "key_env"), detail=f"the variable {server.key_env} is not set")
        return key
    if server.key_file is not None:
        path = Path(server.key_file).expanduser()
        key = _read_key_file(path)
        if not key.secret:
            raise ConfigError(_setting(server, "key_file"), detail=f"{path} is empty")
        return key
    if server.name and private_files.exists(stored_keys / server.name):
        return _read_key_file(stored_keys / server.name)
    variable = usual_key_variable(server.base_url) if server.name else DEFAULT_KEY_VARIABLE
    key = ApiKey(environ.get(variable, "").strip(), variable)
    if server.name and variable and not key.secret:
        raise Unauthorized(server.label, detail=f"{variable} is not set", backend=server.name)
    return key


def _read_key_file(path: Path) -> ApiKey:
    return ApiKey(private_files.read_secret(path, kind="key file", max_bytes=MAX_KEY_FILE_BYTES), str(path))


def _setting(server: ServerConfig, name: str) -> str:
    """Return the setting ``name`` of a server as messages name it."""
    return f"backends.{server.name}.{name}" if server.name else name
