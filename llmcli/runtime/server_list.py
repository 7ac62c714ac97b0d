"""The remote servers that can be named: those of the configuration, and the well-known ones."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from llmcli import backend_config
from llmcli.configuration.backend_presets import find_preset, preset_names
from llmcli.errors import LlmError, Unauthorized, UsageError
from llmcli.frozen_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.backend_config import ServerConfig
    from llmcli.runtime.run_config import RunConfig
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


def server_names(settings: Settings) -> list[str]:
    """Return the names of all servers, those of the configuration first."""
    described = settings["backends"]
    return [*described, *(name for name in preset_names() if name not in described)]


def require_known_name(settings: Settings, name: str) -> None:
    """Return if there is a server ``name``. Raises ``UsageError``."""
    try:
        backend_config.parse_backend_name(name)
    except ValueError as error:
        raise UsageError(f"{name!r} is no name of a backend: {error}", detail="Try: llm backends list") from error
    known = server_names(settings)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        advice = f"Did you mean {', '.join(near)}? " if near else ""
        detail = f"{advice}To add it: llm backends add {name} --base-url URL"
        raise UsageError(f"no backend is called {name}", detail=detail)


def list_servers(config: RunConfig) -> list[ListedServer]:
    """Return all servers; nothing is sent to them."""
    return [_describe(config, name) for name in server_names(config.settings)]


def key_origin(config: RunConfig, server: ServerConfig) -> str:
    """Return the place of the key of ``server``, "" for none. Raises as ``find_key``."""
    from llmcli.backends.remote.transport.api_keys import find_key

    return find_key(server, config.environ, config.paths.keys).origin


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
        key = key_origin(config, server)
    except Unauthorized:  # it has none yet
        pass
    except LlmError as problem:
        error = problem
    agreed = "not needed" if server.is_loopback else "configured" if server.consent else ""
    return ListedServer(
        name,
        server.type,
        server.base_url,
        server.model or "",
        key,
        error,
        agreed or consent.load_consents(config.paths).get(server.origin, ""),
        configured=described is not None,
    )
