"""Remote servers: which one was chosen, the consent to send it data, and the limit of what it may cost.

llm uses a server only if the user named it. Before it sends anything to another machine, the user consents: at the
terminal, where the answer is stored for the host, with ``--yes`` for one run, or by ``consent: true`` in the
configuration. The answers are stored in ``consents.json`` in the data directory; deleting the file revokes them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.config import backend_config
from llmcli.config.backend_config import LOCAL_BACKEND, ServerConfig, find_preset, preset_names
from llmcli.errors import AccessDenied, ConfigError, Offline, UsageError
from llmcli.fast_dataclass import replace
from llmcli.files import private_files

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.backends.remote.transport.cost_budget import CostBudget
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig
    from llmcli.settings import Settings


def chosen_server(settings: Settings) -> tuple[ServerConfig | None, str]:
    """Return the chosen server, None for this machine, and where it was set.

    ``backend`` and ``base_url`` both name a server; the one with the stronger origin (flag, environment, file) wins.
    Raises ``UsageError`` and ``ConfigError`` if both are given with the same origin, and for an unknown name.
    """
    name, url = settings["backend"], settings["base_url"]
    by_name, by_url = settings.origin("backend"), settings.origin("base_url")
    if url is not None and _origin_rank(by_url) == _origin_rank(by_name):
        if by_url.startswith("--"):
            raise UsageError("--backend and --base-url name two servers", detail="Leave out one of them.")
        raise ConfigError("base_url", origin=by_url, detail=f"backend is set too ({by_name}); set only one of them")
    if url is not None and _origin_rank(by_url) < _origin_rank(by_name):
        return ServerConfig(url, key_env=settings["key_env"]), by_url
    if name == LOCAL_BACKEND:
        return None, by_name
    return named_server(settings, name, by_name), by_name


def named_server(settings: Settings, name: str, origin: str) -> ServerConfig:
    """Return the server called ``name``, of the configuration or a well-known one; ``origin`` says where it was named.

    ``--set key_env=VARIABLE`` overrides the place of its key. Raises ``UsageError`` and ``ConfigError`` for a name that nothing has,
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
            return UsageError(f"{prefix}{name} needs an address", detail=advice)
        return ConfigError("backend", origin=origin, detail=f"{name} needs an address. {advice}")
    names = [*known, *(preset for preset in preset_names() if preset not in known)]
    if by_option:
        said = f"Choose one of {', '.join(names)}, or add a server: llm backends add {name} --base-url URL"
        return UsageError(f"{prefix}no server is called {name}", detail=said)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return ConfigError("backend", origin=origin, detail=f"backends has no server called {name}", suggestions=near)


def _origin_rank(origin: str) -> int:
    """Return the rank of an origin, the strongest first: option, environment, file, default."""
    if origin == "default":
        return 3
    return 0 if origin.startswith("--") else 1 if origin.startswith("LLMCLI_") else 2


def require_consent(config: RunConfig, chosen: ServerConfig, models: ModelLibrary, *, consents: bool) -> None:
    """Return if the user consents to sending data to the server, or to each of several; ask the observer if need be.

    A yes is stored.

    ``consents``: the user consents for this run. Raises ``Offline`` and ``AccessDenied``.
    """
    if chosen.is_loopback:
        return
    if models.offline:
        raise Offline(chosen.label, origin=models.offline_origin)
    if chosen.consent or consents:
        return
    agreed = load_consents(config.paths)
    elsewhere = [member.origin for member in chosen.members if not member.is_loopback]
    hosts = [host for host in dict.fromkeys(elsewhere) if host not in agreed]
    if not hosts:
        return
    if not config.observer.confirm_consent(hosts):
        setting = f", or set backends.{chosen.name}.consent: true (llm config edit)" if chosen.name else ""
        raise AccessDenied(
            ", ".join(hosts),
            message="{subject} needs your consent before llm sends it text",
            advice=f"Add --yes, or run it once on a terminal{setting}.",
            type_name="NoConsent",
        )
    _store_consents(config, hosts)


def load_consents(paths: AppPaths) -> dict[str, str]:
    """Return the hosts that the user agreed to at a terminal, and when."""
    try:
        loaded = json.loads(_consents_path(paths).read_bytes())
    except (OSError, ValueError, RecursionError):  # then llm asks again
        return {}
    hosts = loaded.get("hosts") if isinstance(loaded, dict) else None
    return {host: str(day) for host, day in hosts.items()} if isinstance(hosts, dict) else {}


def consent_day(paths: AppPaths, server: ServerConfig) -> str:
    """Return the day on which the user agreed to the server, or to the last of its members; "" before that."""
    agreed = load_consents(paths)
    days = [agreed.get(member.origin, "") for member in server.members if not member.is_loopback]
    return max(days, default="") if all(days) else ""


def _consents_path(paths: AppPaths) -> Path:
    return paths.data / "consents.json"


def _store_consents(config: RunConfig, agreed: Iterable[str]) -> None:
    path = _consents_path(config.paths)
    hosts = load_consents(config.paths) | dict.fromkeys(agreed, time.strftime("%Y-%m-%d", time.gmtime()))
    try:
        private_files.replace_file(path, json.dumps({"hosts": hosts}, indent=1).encode())
    except OSError as error:
        config.observer.warn(f"{path} cannot be written ({error.strerror}); llm will ask you again")


def make_budget(settings: Settings, server: ServerConfig, model: str | None) -> CostBudget | None:
    """Return what counts and limits the costs of ``model`` (None: of the server's own), None where no price is known.

    Raises ``UsageError`` and ``ConfigError`` for ``--max-cost`` without a price.
    """
    from llmcli.backends.remote.transport.cost_budget import CostBudget

    price, limit = server.price_of(model or server.model), settings["max_cost"]
    if price is not None:
        return CostBudget(price, limit)
    if limit is None:
        return None
    where = model or server.model or server.label
    advice = _price_advice(settings, server)
    origin = settings.origin("max_cost")
    if origin.startswith("--"):
        raise UsageError(f"--max-cost needs the price of {where}", detail=advice)
    raise ConfigError("max_cost", origin=origin, detail=f"the price of {where} is not known. {advice}")


def _price_advice(settings: Settings, server: ServerConfig) -> str:
    """Return what the configuration file needs to have a price."""
    price = "price: {input: 3, output: 15}"
    if server.name in settings["backends"]:
        added, place = price, f"backends.{server.name}"
    elif server.name:  # a well-known server
        added, place = f"{server.name}: {{{price}}}", "backends"
    else:
        added, place = f"NAME: {{type: {server.type}, base_url: {server.base_url}, {price}}}", "backends"
    return f"Add {added} (for a million tokens) to {place} in config.yaml: llm config edit"
