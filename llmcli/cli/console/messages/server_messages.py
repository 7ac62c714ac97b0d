"""The messages for the network, servers, keys and pages at web addresses."""

from __future__ import annotations

from llmcli import errors as e
from llmcli.cli.console.messages.message_text import (
    Descriptions,
    ErrorText,
    append_detail,
    subject_of,
)
from llmcli.errors import network_errors as w


def _describe_offline(error: e.Offline) -> ErrorText:
    if error.origin.startswith("--"):
        advice = f"Leave out {error.origin}."
    else:
        advice = "Try: llm config edit" if "/" in error.origin else f"Unset {error.origin}."
    return f"{subject_of(error)} needs the network, and offline is set ({error.origin})", advice


def _describe_access_denied(error: e.AccessDenied) -> ErrorText:
    where = f"Accept the terms or ask for access at {error.url} (with the account that owns HF_TOKEN)"
    advice = where if error.url else "Check the token (HF_TOKEN) and its permissions."
    return append_detail(f"no access to {subject_of(error)}", error), advice


def _describe_unauthorized(error: e.Unauthorized) -> ErrorText:
    complaint = f"does not accept the key of {error.key}" if error.key else "requires a key"
    if error.key:
        advice = "Check the key and its permissions."
    elif error.backend:
        advice = f"Try: llm keys set {error.backend} (or set key_env: llm config edit)"
    else:
        advice = "Set LLMCLI_API_KEY, or name another variable: --set key_env=VARIABLE"
    return append_detail(f"{subject_of(error)} {complaint}", error), advice


def _describe_try_again(error: e.TemporaryFailure) -> ErrorText:
    from llmcli.errors.network_errors import ServerUnreachable, TransferStalled

    if isinstance(error, ServerUnreachable) and error.address:
        advice = f"Is the server running? Nothing listens at {error.address}: start the server, or correct the address."
        return append_detail(subject_of(error), error), advice
    wait = f"Try again in {error.retry_after:.0f} seconds." if error.retry_after else "Try again later."
    if isinstance(error, TransferStalled):
        wait = "Try again later: the download continues where it stopped."
    shown = f" (characters of the answer shown: {error.num_shown:,})" if error.num_shown else ""
    return append_detail(subject_of(error) or "not available now", error) + shown, wait


SERVER_DESCRIPTIONS: Descriptions = {
    w.NotOnServers: lambda x: (
        append_detail(f"cannot use {subject_of(x)} here", x),
        "Use a model on this machine: --backend local",
    ),
    e.Offline: _describe_offline,
    e.RemoteError: lambda x: (
        append_detail(f"{subject_of(x)}: unexpected response", x),
        "Try again, or use another source.",
    ),
    e.RequestRejected: lambda x: (
        append_detail(f"{subject_of(x)} refused the request", x),
        "Check its address, the model (-m) and the options: llm config show",
    ),
    e.UntrustedServer: lambda x: (append_detail(subject_of(x), x), "Check the address: llm config show backends"),
    e.AccessDenied: _describe_access_denied,
    e.Unauthorized: _describe_unauthorized,
    e.TemporaryFailure: _describe_try_again,
    e.CannotListen: lambda x: (
        append_detail(f"cannot listen on {subject_of(x)}", x),
        "Choose another with --port (0: any free port), --host or --socket.",
    ),
}


WEB_DESCRIPTIONS: Descriptions = {
    w.UntrustedPage: lambda x: (append_detail(subject_of(x), x), "Check the address."),
    w.UntrustedDownload: lambda x: (
        append_detail(subject_of(x), x),
        "If your network inspects TLS connections, set SSL_CERT_FILE to its certificates.",
    ),
}
