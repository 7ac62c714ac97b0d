"""Tells whether the Hub and the servers are reachable: by their settings, or contacted with ``--network``."""

from __future__ import annotations

from urllib.parse import urlsplit

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.doctor.findings import Finding, FindingState
from llmcli.cli.console import error_messages
from llmcli.cli.console.messages import message_text
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import LlmError, UsageError
from llmcli.fast_dataclass import replace

_ADVICE = "To connect: llm doctor --network"


def check_network(ctx: CommandContext) -> Finding:
    """Report where models come from, without connecting."""
    environ = ctx.runtime.environ
    endpoint = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    offline = ctx.runtime.models.offline
    proxies = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if environ.get(name)]
    parts = [
        "offline: nothing is downloaded" if offline else f"models come from {message_text.redact_address(endpoint)}",
        "HF_TOKEN is set" if environ.get("HF_TOKEN") else "",
        f"through {', '.join(proxies)}" if proxies else "",
    ]
    data = {
        "offline": offline,
        "endpoint": message_text.redact_address(endpoint),
        "token": bool(environ.get("HF_TOKEN")),
    }
    data |= {"proxies": proxies}
    text = ", ".join(part for part in parts if part)
    if not _is_http_url(endpoint):
        return Finding(
            FindingState.WARNING, f"HF_ENDPOINT is not an address; {text}", "Unset it, or set https://HOST.", data
        )
    if offline:
        return Finding(FindingState.OK, text, data=data)
    return Finding(FindingState.UNTESTED, f"{text}; no connection was tried", _ADVICE, data)


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def check_backends(ctx: CommandContext) -> Finding:
    """Check the configured remote servers without connecting: consent for each, and whether its key is available."""
    from llmcli.config import backend_config
    from llmcli.runtime import consent, named_servers

    agreed, described = consent.load_consents(ctx.runtime.paths), ctx.runtime.settings["backends"]
    texts, problems, listed = [], [], []
    for name, fields in described.items():
        server = backend_config.make_server_config(name, fields)
        leave = (
            "this machine"
            if server.is_loopback
            else "consent in the configuration"
            if server.consent
            else f"consent given on {day}"
            if (day := consent.consent_day(ctx.runtime.paths, server))
            else "no consent yet"
        )
        key = "no key"
        try:
            key = f"key of {place}" if (place := named_servers.key_place(ctx.runtime.config, server)) else key
        except LlmError as error:
            problems.append(error_messages.describe(error))
            key = problems[-1][0]
        texts.append(f"{name}: {server.address} ({leave}; {key})")
        listed.append({"name": name, "base_url": server.address, "model": server.model, "consent": leave, "key": key})
    servers = [backend_config.make_server_config(name, fields) for name, fields in described.items()]
    known = {member.origin for server in servers for member in server.members}
    others = [host for host in agreed if host not in known]
    texts += [f"{host} (consent given on {agreed[host]})" for host in others]
    data = {
        "backend": ctx.runtime.settings["backend"],
        "base_url": ctx.runtime.settings["base_url"],
        "backends": listed,
    }
    data["consents"] = agreed
    text = "; ".join(texts) or "none: every model runs on this machine"
    if problems:
        return Finding(FindingState.WARNING, text, problems[0][1], data)
    if described:
        return Finding(FindingState.UNTESTED, f"{text}; no connection was tried", _ADVICE, data)
    return Finding(FindingState.OK, text, data=data)


def probe_network(ctx: CommandContext, found: Finding) -> Finding:
    """Ask the Hub for one repository, unless the finding is not "ok". Raises as ``HubClient.search_repositories``."""
    from llmcli.models.hub.hub_client import HubClient
    from llmcli.network.transfers import DownloadRetryPolicy

    if ctx.runtime.models.offline:
        return replace(found, state=FindingState.UNTESTED, text=f"{found.text}, so no connection was tried")
    if found.state is not FindingState.UNTESTED:
        return found
    hub = HubClient(ctx.runtime.environ, DownloadRetryPolicy(max_tries=1))
    try:
        hub.search_repositories("", 1, ctx.runtime.interrupt)
    except LlmError as error:
        error.subject = error.subject or "the Hub"
        raise
    return replace(found, state=FindingState.OK, text=f"{message_text.redact_address(hub.endpoint)} answers", next="")


def probe_backends(ctx: CommandContext, found: Finding) -> Finding:
    """Request the model list of each server with consent; the request carries its key and no user data."""
    from llmcli.config import backend_config
    from llmcli.runtime import consent

    if found.state is not FindingState.UNTESTED:
        return found
    agreed = consent.load_consents(ctx.runtime.paths)
    states, texts, advice = [], [], ""
    described = ctx.runtime.settings["backends"]
    servers = [
        member
        for name, fields in described.items()
        for member in backend_config.make_server_config(name, fields).members
    ]
    for server in servers:
        state, said = FindingState.OK, "it answers"
        if not server.is_loopback and ctx.runtime.models.offline:
            state, said = FindingState.UNTESTED, "not tried: offline is set"
        elif not (server.is_loopback or server.consent or server.origin in agreed):
            state, said = FindingState.UNTESTED, "not tried: you have not consented to this server"
        else:
            try:
                _query_server(ctx, server)
            except LlmError as error:
                ctx.runtime.interrupt.check()
                state = FindingState.WARNING
                said, advice = error_messages.describe(error)
        states.append(state)
        texts.append(f"{server.name}: {server.base_url} ({said})")
    worst = max(states, key=[FindingState.OK, FindingState.UNTESTED, FindingState.WARNING].index)
    return replace(found, state=worst, text="; ".join(texts), next=advice)


def _query_server(ctx: CommandContext, server: ServerConfig) -> None:
    """Ask a server which models it has. Raises as ``RemoteBackend.info``."""
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.network.proxies import find_proxy

    environ = ctx.runtime.environ
    key, proxy = find_key(server, environ, ctx.runtime.paths.keys), find_proxy(server.base_url, environ)
    backend = RemoteBackend(replace(server, model=None, context=None), key, ctx.runtime.interrupt, proxy=proxy)
    try:
        backend.info()
    except UsageError:  # it has several models, which is an answer too
        return
    finally:
        backend.close()
