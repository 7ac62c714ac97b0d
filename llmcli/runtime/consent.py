"""Remote servers: which one was chosen, and the consent to send it data.

A server is used only when it was named. Before anything is sent to another machine, the user consents: at the terminal,
where the answer is stored for the host, with ``--yes`` for one run, or by ``consent: true`` in the configuration. The
answers are stored in ``consents.json`` in the data directory; deleting the file revokes them.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import backend_config
from llmcli.backend_config import LOCAL_BACKEND, ServerConfig
from llmcli.configuration.backend_presets import find_preset, preset_names
from llmcli.errors import ConfigError, ConsentRequired, Offline, UsageError
from llmcli.files import private_files

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig
    from llmcli.settings import AppPaths, Settings


def chosen_server(settings: Settings) -> tuple[ServerConfig | None, str]:
    """Return the server that was named, None for this machine, and where that was decided.

    ``backend`` and ``base_url`` both name a server; the one with the stronger origin (flag, environment, file) wins. Raises
    ``UsageError`` and ``ConfigError`` for both at once, and for a name that nothing has.
    """
    name, url = settings["backend"], settings["base_url"]
    by_name, by_url = settings.origin("backend"), settings.origin("base_url")
    if url is not None and _origin_rank(by_url) == _origin_rank(by_name):
        if by_url.startswith("--"):
            raise UsageError("--backend and --base-url name two servers", detail="Leave out one of them.")
        raise ConfigError("base_url", origin=by_url, detail=f"backend is set too ({by_name})")
    if url is not None and _origin_rank(by_url) < _origin_rank(by_name):
        return ServerConfig(url, key_env=settings["key_env"]), by_url
    if name == LOCAL_BACKEND:
        return None, by_name
    return named_server(settings, name, by_name), by_name


def named_server(settings: Settings, name: str, origin: str) -> ServerConfig:
    """Return the server called ``name``, of the configuration or a well-known one; ``origin`` says where it was named.

    ``--key-env`` overrides the place of its key. Raises ``UsageError`` and ``ConfigError`` for a name that nothing has,
    and for a well-known server that has no address yet.
    """
    described = settings["backends"]
    if name in described:
        server: ServerConfig | None = backend_config.make_server_config(name, described[name])
    else:
        server = backend_config.preset_server(name)
    if server is None:
        raise _unknown_server(name, origin, [LOCAL_BACKEND, *described])
    if settings.origin("key_env").startswith("--"):
        return replace(server, key_env=settings["key_env"], key_file=None)
    return server


def _unknown_server(name: str, origin: str, known: list[str]) -> UsageError | ConfigError:
    import difflib

    by_option = not origin or origin.startswith("--")
    prefix = f"{origin}: " if origin else ""
    preset = find_preset(name)
    if preset is not None:
        advice = f"Try: llm backends add {name} --base-url {preset.example}"
        if by_option:
            return UsageError(f"{prefix}{name} needs the address of your own", detail=advice)
        return ConfigError("backend", origin=origin, detail=f"{name} needs the address of your own. {advice}")
    names = [*known, *(preset for preset in preset_names() if preset not in known)]
    if by_option:
        said = f"There are: {', '.join(names)}. Try: llm backends add {name} --base-url URL"
        return UsageError(f"{prefix}there is no {name}", detail=said)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return ConfigError("backend", origin=origin, detail=f"there is no {name} under backends", suggestions=near)


def _origin_rank(origin: str) -> int:
    """Return how far from the command something was said: an option, the environment, the file, nowhere."""
    if origin == "default":
        return 3
    return 0 if origin.startswith("--") else 1 if origin.startswith("LLMCLI_") else 2


def require_consent(config: RunConfig, chosen: ServerConfig, models: ModelLibrary, *, consents: bool = False) -> None:
    """Return when the server may have what is sent; otherwise the observer is asked, and a yes is stored.

    ``consents``: the user agreed for this run. Raises ``Offline`` and ``ConsentRequired``.
    """
    if chosen.is_loopback:
        return
    if models.offline:
        raise Offline(chosen.label, origin=models.offline_origin)
    if chosen.consent or consents or chosen.origin in load_consents(config.paths):
        return
    if not config.observer.confirm_consent(chosen):
        raise ConsentRequired(chosen.origin, backend=chosen.name)
    _store_consent(config, chosen.origin)


def load_consents(paths: AppPaths) -> dict[str, str]:
    """Return the hosts that were agreed to at a terminal, and when."""
    try:
        loaded = json.loads(_consents_path(paths).read_bytes())
    except (OSError, ValueError, RecursionError):  # then it is asked again
        return {}
    hosts = loaded.get("hosts") if isinstance(loaded, dict) else None
    return {host: str(day) for host, day in hosts.items()} if isinstance(hosts, dict) else {}


def _consents_path(paths: AppPaths) -> Path:
    return paths.data / "consents.json"


def _store_consent(config: RunConfig, host: str) -> None:
    path = _consents_path(config.paths)
    hosts = {**load_consents(config.paths), host: time.strftime("%Y-%m-%d", time.gmtime())}
    try:
        private_files.replace_file(path, json.dumps({"hosts": hosts}, indent=1).encode())
    except OSError as error:
        config.observer.warn(f"{path} cannot be written ({error.strerror}): you will be asked again")
