"""Whether the Hub and the servers of the configuration can be reached: looked at by default, asked with ``--network``."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from llmcli.cli import wording
from llmcli.cli.context import Context
from llmcli.cli.findings import Finding, State
from llmcli.errors import LlmError, UsageError
from llmcli.servers import Server

_ADVICE = "To try one: llm doctor --network"


def network(cli: Context) -> Finding:
    """Say where models come from, without asking there."""
    environ = cli.world.environ
    endpoint = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    offline = cli.models.offline
    proxies = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if environ.get(name)]
    parts = [
        "offline: nothing is fetched" if offline else f"models come from {wording.address(endpoint)}",
        "HF_TOKEN is set" if environ.get("HF_TOKEN") else "",
        f"through {', '.join(proxies)}" if proxies else "",
    ]
    data = {"offline": offline, "endpoint": wording.address(endpoint), "token": bool(environ.get("HF_TOKEN"))}
    data |= {"proxies": proxies}
    text = ", ".join(part for part in parts if part)
    if not _is_address(endpoint):
        return Finding(State.WARNING, f"HF_ENDPOINT is no address; {text}", "Unset it, or set https://HOST.", data)
    if offline:
        return Finding(State.OK, text, data=data)
    return Finding(State.UNTESTED, f"{text}; no connection was tried", _ADVICE, data)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def backends(cli: Context) -> Finding:
    """Look at the servers elsewhere without asking them: which get what, by whose leave, and whether their keys are there."""
    from llmcli import servers
    from llmcli.backends.remote.keys import find_key
    from llmcli.cli import remote

    agreed, described = remote.consents(cli), cli.settings["backends"]
    texts, problems, listed = [], [], []
    for name, fields in described.items():
        server = servers.server(name, fields)
        leave = (
            "this machine"
            if server.here
            else "agreed to in the configuration"
            if server.consent
            else f"agreed to on {agreed[server.origin]}"
            if server.origin in agreed
            else "nobody agreed yet"
        )
        key = "no key"
        try:
            key = f"key of {origin}" if (origin := find_key(server, cli.world.environ).origin) else key
        except LlmError as error:
            problems.append(wording.words(error))
            key = problems[-1][0]
        texts.append(f"{name}: {server.base_url} ({leave}; {key})")
        listed.append({"name": name, "base_url": server.base_url, "model": server.model, "consent": leave, "key": key})
    others = [host for host in agreed if host not in {servers.server(n, f).origin for n, f in described.items()}]
    texts += [f"{host} (agreed to on {agreed[host]})" for host in others]
    data = {"backend": cli.settings["backend"], "base_url": cli.settings["base_url"], "backends": listed}
    data["consents"] = agreed
    text = "; ".join(texts) or "none: every model runs on this machine"
    if problems:
        return Finding(State.WARNING, text, problems[0][1], data)
    if described:
        return Finding(State.UNTESTED, f"{text}; no connection was tried", _ADVICE, data)
    return Finding(State.OK, text, data=data)


def probe_network(cli: Context, found: Finding) -> Finding:
    """Ask the Hub for one repository, unless something else was found. Raises as ``Hub.search``."""
    from llmcli.models.hub import Hub, Patience

    if cli.models.offline:
        return replace(found, state=State.UNTESTED, text=f"{found.text}, so no connection was tried")
    if found.state is not State.UNTESTED:
        return found
    hub = Hub(cli.world.environ, Patience(tries=1))
    try:
        hub.search("", 1, cli.interrupt)
    except LlmError as error:
        error.subject = error.subject or "the Hub"
        raise
    return replace(found, state=State.OK, text=f"{wording.address(hub.endpoint)} answers", next="")


def probe_backends(cli: Context, found: Finding) -> Finding:
    """Ask each server that may be asked which models it has; it gets its key, and nothing of the user's."""
    from llmcli import servers
    from llmcli.cli import remote

    if found.state is not State.UNTESTED:
        return found
    agreed = remote.consents(cli)
    states, texts, advice = [], [], ""
    for name, fields in cli.settings["backends"].items():
        server = servers.server(name, fields)
        state, said = State.OK, "it answers"
        if not server.here and cli.models.offline:
            state, said = State.UNTESTED, "not tried: offline is set"
        elif not (server.here or server.consent or server.origin in agreed):
            state, said = State.UNTESTED, "not tried: nobody agreed to send anything there"
        else:
            try:
                _ask(cli, server)
            except LlmError as error:
                cli.interrupt.check()
                state = State.WARNING
                said, advice = wording.words(error)
        states.append(state)
        texts.append(f"{name}: {server.base_url} ({said})")
    worst = max(states, key=[State.OK, State.UNTESTED, State.WARNING].index)
    return replace(found, state=worst, text="; ".join(texts), next=advice)


def _ask(cli: Context, server: Server) -> None:
    """Ask a server which models it has. Raises as ``RemoteBackend.info``."""
    from llmcli.backends.remote.backend import RemoteBackend
    from llmcli.backends.remote.keys import find_key
    from llmcli.backends.remote.proxies import find_proxy

    environ = cli.world.environ
    key, proxy = find_key(server, environ), find_proxy(server, environ)
    backend = RemoteBackend(replace(server, model=None, context=None), key, cli.interrupt, proxy=proxy)
    try:
        backend.info()
    except UsageError:  # it has several models, which is as good an answer
        return
    finally:
        backend.close()
