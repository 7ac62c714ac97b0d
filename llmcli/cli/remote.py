"""Servers elsewhere: which one was named, and whether it may have what is sent.

A server is used only when it was named. Before a host that is not this machine gets anything, somebody agrees: at the
terminal, where the answer is remembered for the host, with ``--yes`` for one run, or by ``consent: true`` in the
configuration. What was remembered lies in ``consents.json`` in the data directory; deleting it takes all back.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import private_files, servers
from llmcli.errors import ConfigError, NoConsent, Offline, UsageError
from llmcli.servers import LOCAL, Server

if TYPE_CHECKING:
    from llmcli.cli.context import Context


def server(cli: Context) -> tuple[Server | None, str]:
    """Return the server that was named, None for this machine, and where that was decided.

    ``backend`` and ``base_url`` say the same, so the one that was said nearer to the command goes before. Raises
    ``UsageError`` and ``ConfigError`` for both at once, and for a name that nothing has.
    """
    name, url = cli.settings["backend"], cli.settings["base_url"]
    by_name, by_url = cli.settings.origin("backend"), cli.settings.origin("base_url")
    if url is not None and _rank(by_url) == _rank(by_name):
        if by_url.startswith("--"):
            raise UsageError("--backend and --base-url name two servers", detail="Leave out one of them.")
        raise ConfigError("base_url", origin=by_url, detail=f"backend is set too ({by_name})")
    if url is not None and _rank(by_url) < _rank(by_name):
        return Server(url), by_url
    if name == LOCAL:
        return None, by_name
    described = cli.settings["backends"]
    if name not in described:
        import difflib

        near = tuple(difflib.get_close_matches(name, [LOCAL, *described], n=3, cutoff=0.6))
        if by_name.startswith("--"):
            known = ", ".join([LOCAL, *described])
            raise UsageError(f"--backend: there is no {name}", detail=f"There are: {known}. Try: llm config edit")
        raise ConfigError("backend", origin=by_name, detail=f"there is no {name} under backends", suggestions=near)
    return servers.server(name, described[name]), by_name


def _rank(origin: str) -> int:
    """Return how far from the command something was said: an option, the environment, the file, nowhere."""
    if origin == "default":
        return 3
    return 0 if origin.startswith("--") else 1 if origin.startswith("LLMCLI_") else 2


def allow(cli: Context, chosen: Server) -> None:
    """Return when the server may have what is sent. Raises ``Offline`` and ``NoConsent``; asks at a terminal."""
    if chosen.here:
        return
    if cli.models.offline:
        raise Offline(chosen.label, origin=cli.models.offline_by)
    if chosen.consent or cli.flags.yes or chosen.origin in consents(cli):
        return
    from llmcli.cli import asking

    question = (
        f"llm: {chosen.origin} will get what you type and the documents that you name. Send them there, from now on?"
    )
    if not asking.possible(cli) or not asking.yes(cli, question, enter=False):
        raise NoConsent(chosen.origin, backend=chosen.name)
    _remember(cli, chosen.origin)


def consents(cli: Context) -> dict[str, str]:
    """Return the hosts that were agreed to at a terminal, and when."""
    try:
        loaded = json.loads(_path(cli).read_bytes())
    except (OSError, ValueError, RecursionError):  # then it is asked again
        return {}
    hosts = loaded.get("hosts") if isinstance(loaded, dict) else None
    return {host: str(day) for host, day in hosts.items()} if isinstance(hosts, dict) else {}


def _path(cli: Context) -> Path:
    return cli.paths.data / "consents.json"


def _remember(cli: Context, host: str) -> None:
    path = _path(cli)
    hosts = {**consents(cli), host: time.strftime("%Y-%m-%d", time.gmtime())}
    try:
        private_files.replace_file(path, json.dumps({"hosts": hosts}, indent=1).encode())
    except OSError as error:
        cli.warn(f"{path} cannot be written ({error.strerror}): you will be asked again")
