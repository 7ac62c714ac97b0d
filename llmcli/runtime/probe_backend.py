"""The backend that tries out a server: the one that was named, with the user's consent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.runtime import consent, server_list

if TYPE_CHECKING:
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.runtime.runtime import Runtime


@contextmanager
def open_probe(runtime: Runtime, name: str | None, *, consents: bool) -> Iterator[RemoteBackend]:
    """Give a backend on the server ``name``, or on the one that the settings choose, which has learned nothing yet.

    Raises ``UsageError`` if that is this machine, and as ``require_consent`` and ``find_key``.
    """
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.backends.remote.transport.proxies import find_proxy

    settings, environ = runtime.settings, runtime.environ
    if name is not None:
        if settings.origin("base_url").startswith("--"):
            raise UsageError("NAME and --base-url name two servers", detail="Leave out one of them.")
        server_list.require_known_name(settings, name)
        server = consent.named_server(settings, name, "")
    else:
        chosen, _ = consent.chosen_server(settings)
        if chosen is None:
            raise UsageError("test which server?", detail="Try: llm backends test NAME, or: llm backends list")
        server = chosen
    consent.require_consent(runtime.config, server, runtime.models, consents=consents)
    key = find_key(server, environ, runtime.paths.keys)
    if not server.is_loopback:
        runtime.observer.server_used(server)
    backend = RemoteBackend(server, key, runtime.interrupt, model=runtime.model_name, proxy=find_proxy(server, environ))
    try:
        yield backend
    finally:
        backend.close()
