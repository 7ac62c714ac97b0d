"""The remote servers that can be named, which are edited here in the configuration, their keys, and a trial."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.config import backend_config
from llmcli.config.backend_config import find_preset, preset_names
from llmcli.config.config_editor import edit_config, remove_entry, set_entry
from llmcli.errors import CannotCreate, LlmError, MissingError, Unauthorized, UsageError
from llmcli.errors.saved_state_errors import UnreadableState
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.runtime import consent
from llmcli.settings import read_config

if TYPE_CHECKING:
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.config.backend_config import ServerConfig
    from llmcli.runtime.run_config import RunConfig
    from llmcli.runtime.runtime import Runtime
    from llmcli.settings import Settings


@frozen
class ListedServer:
    """A server; ``base_url`` "" if it needs an address first.

    ``key`` is the place of its key, "" for none; ``key_error`` is why it cannot be used. ``consent``: "not needed" on
    this machine, "configured", the day on which the user agreed, or "" if the user will be asked.
    """

    name: str
    type: str
    base_url: str
    model: str = ""
    key: str = ""
    key_error: LlmError | None = None
    consent: str = ""
    configured: bool = False


def _server_names(settings: Settings) -> list[str]:
    """Return the names of all servers, those of the configuration first."""
    described = settings["backends"]
    return [*described, *(name for name in preset_names() if name not in described)]


def require_known_name(settings: Settings, name: str) -> None:
    """Return if there is a server ``name``. Raises ``UsageError``."""
    try:
        backend_config.parse_backend_name(name)
    except ValueError as error:
        raise UsageError(f"{name!r} is no name of a backend: {error}", detail="Try: llm backends list") from error
    known = _server_names(settings)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        advice = f"Did you mean {', '.join(near)}? " if near else ""
        detail = f"{advice}To add it: llm backends add {name} --base-url URL"
        raise UsageError(f"no backend is called {name}", detail=detail)


def list_servers(config: RunConfig) -> list[ListedServer]:
    """Return all servers; nothing is sent to them."""
    return [_describe(config, name) for name in _server_names(config.settings)]


def key_place(config: RunConfig, server: ServerConfig) -> str:
    """Return the place of the key of ``server``, or of its members, "" for none. Raises as ``find_key``."""
    from llmcli.backends.remote.transport.api_keys import find_key

    places = [find_key(member, config.environ, config.paths.keys).origin for member in server.members]
    return ", ".join(dict.fromkeys(filter(None, places)))


def _describe(config: RunConfig, name: str) -> ListedServer:
    from llmcli.runtime import consent

    described = config.settings["backends"].get(name)
    if described is None:
        server = backend_config.preset_server(name)
    else:
        server = backend_config.make_server_config(name, described)
    if server is None:
        preset = find_preset(name)
        return ListedServer(name, preset.type if preset else "", "")
    key, error = "", None
    try:
        key = key_place(config, server)
    except LlmError as problem:
        error = None if isinstance(problem, Unauthorized) else problem  # a server without a key yet is listed, too
    agreed = "not needed" if server.is_loopback else "configured" if server.consent else ""
    return ListedServer(
        name,
        server.type,
        server.address,
        server.model or "",
        key,
        error,
        agreed or consent.consent_day(config.paths, server),
        configured=described is not None,
    )


_SECTION = "backends"


def add_backend(file: Path, name: str, fields: Mapping[str, Any], *, force: bool) -> None:
    """Add a backend, whose fields were checked; ``force`` replaces the one of this name.

    Raises ``CannotCreate`` if there is one, and what reading and writing the file raise.
    """
    if name in _backends(file) and not force:
        raise UsageError(f"there is a backend {name} already", detail="Add --force to replace it, or: llm config edit")
    edit_config(file, lambda text: set_entry(text, (_SECTION, name), dict(fields)))


def remove_backend(file: Path, name: str) -> None:
    """Remove a backend. Raises ``MissingError`` if the file has none of this name."""
    known = _backends(file)
    if name not in known:
        raise MissingError(name, kind="backend", suggestions=tuple(known))
    edit_config(file, lambda text: remove_entry(text, (_SECTION, name)))


def _backends(file: Path) -> Mapping[str, Any]:
    found = read_config(file).get(_SECTION)
    return found if isinstance(found, Mapping) else {}


class KeyStore:
    """The keys in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return the file of the key of the backend ``name``, which was checked by ``parse_backend_name``."""
        return self._directory / name

    def names(self) -> list[str]:
        """Return the backends that have a stored key, sorted."""
        try:
            return sorted(each.name for each in self._directory.iterdir() if each.name[:1] != "." and each.is_file())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableState(str(self._directory), detail=error.strerror or "") from error

    def store(self, name: str, secret: str) -> Path:
        """Store a key in the place of an earlier one, and return its file. Raises ``CannotCreate``."""
        try:
            private_files.replace_file(self.path(name), f"{secret}\n".encode())
        except OSError as error:
            raise CannotCreate(str(self.path(name)), detail=error.strerror or "") from error
        return self.path(name)

    def remove(self, name: str) -> None:
        """Remove a key. Raises ``MissingError`` if there is none."""
        try:
            self.path(name).unlink()
        except OSError as error:
            raise MissingError(
                name, kind="stored key", detail=error.strerror or "", suggestions=self.names()
            ) from error


@contextmanager
def open_probes(runtime: Runtime, name: str | None, *, consents: bool) -> Iterator[list[RemoteBackend]]:
    """Give a backend on the server ``name``, or on the one that the settings choose, which has learned nothing yet.

    Several servers behind one name have one each.

    Raises ``UsageError`` if that is this machine, and as ``require_consent`` and ``find_key``.
    """
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.network.proxies import find_proxy

    settings, environ = runtime.settings, runtime.environ
    if name is not None:
        if settings.origin("base_url").startswith("--"):
            raise UsageError("NAME and --base-url name two servers", detail="Leave out one of them.")
        require_known_name(settings, name)
        server = consent.named_server(settings, name, "")
    else:
        chosen, _ = consent.chosen_server(settings)
        if chosen is None:
            raise UsageError("test which server?", detail="Try: llm backends test NAME, or: llm backends list")
        server = chosen
    consent.require_consent(runtime.config, server, runtime.models, consents=consents)
    keys = [find_key(member, environ, runtime.paths.keys) for member in server.members]
    if not server.is_loopback:
        runtime.observer.server_used(server)
    backends = [
        RemoteBackend(
            member, key, runtime.interrupt, model=runtime.model_name, proxy=find_proxy(member.base_url, environ)
        )
        for member, key in zip(server.members, keys, strict=True)
    ]
    try:
        yield backends
    finally:
        for backend in backends:
            backend.close()
