"""``llm serve`` on the packages that it needs: the socket, the token, and messages."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.serve.served_models import ServedModels
from llmcli.errors import ModelNotDownloaded, UsageError
from llmcli.fast_dataclass import frozen, replace

if TYPE_CHECKING:
    from llmcli.serve.batch_queue import BatchQueue
    from llmcli.serve.middleware import AccessPolicy

HOST, PORT = "127.0.0.1", 8033
_MIN_TOKEN_CHARS = 16
"""Minimum length of a token; shorter ones can be guessed."""


@frozen
class ServeOptions:
    """The options of the server; sizes in MB of 2**20 bytes."""

    host: str
    port: int
    socket: str | None
    token_file: str | None
    allowed_origins: Sequence[str]
    max_requests: int
    max_body_mb: int
    batches: bool


def serve_models(ctx: CommandContext, options: ServeOptions) -> None:
    """Serve until a signal arrives.

    Raises ``CannotListen``, ``UsageError`` for an invalid origin, what ``require_engine`` and ``find_token`` raise, and
    the signal's error.
    """
    from llmcli.runtime.backend_factory import require_engine
    from llmcli.runtime.run_config import engine_options
    from llmcli.serve import api_server, middleware
    from llmcli.serve.api_server import ApiServer
    from llmcli.worker import protocol

    origins = _parse_origins(options)
    given = middleware.find_token(options.token_file, ctx.runtime.environ)
    secret = given or middleware.generate_token()
    require_engine(ctx.runtime.config)
    where = (
        api_server.listen_unix(Path(options.socket))
        if options.socket
        else api_server.listen_tcp(options.host, options.port)
    )
    engine = engine_options(ctx.runtime.settings, ctx.runtime.paths.cache)
    _check_default_model(ctx)
    models = ServedModels(ctx)
    models.list_models()
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(where)
        server = ApiServer(
            models,
            protocol.dump_options(replace(engine, gpu_layers=None)),
            _build_access_policy(options, secret, origins, opened),
            ctx.console.write_notice,
            verbose=ctx.console.verbose,
            batches=_open_batches(ctx, models, stack) if options.batches else None,
        )
        _announce_address(ctx, opened, None if given else secret)
        if len(secret) < _MIN_TOKEN_CHARS and not ctx.console.quiet:
            ctx.console.write_notice(f"the token has fewer than {_MIN_TOKEN_CHARS} characters: others may guess it")
        server.run_until(opened, lambda: ctx.runtime.interrupt.requested)
    ctx.runtime.interrupt.check()


def _open_batches(ctx: CommandContext, models: ServedModels, stack: contextlib.ExitStack) -> BatchQueue:
    """Return the queue of batches, which is closed with ``stack``. Raises as ``open_queue``."""
    from llmcli.cli.commands.serve.batch_process import open_queue

    return stack.enter_context(open_queue(ctx, models))


def _check_default_model(ctx: CommandContext) -> None:
    """Report a problem with the configured model or its adapters at start-up, before the first request for it."""
    from llmcli.runtime.preflight import check_adapters

    try:
        check_adapters(ctx.runtime.add_adapters(ctx.runtime.models.find()), ctx.runtime.observer)
    except ModelNotDownloaded:  # the starter model may be missing: requests may name others
        if ctx.runtime.settings["model"]:
            raise


def _parse_origins(options: ServeOptions) -> frozenset[str]:
    """Return the allowed origins. Raises ``UsageError`` for an invalid one."""
    from llmcli.serve import middleware

    try:
        return frozenset(map(middleware.normalize_origin, options.allowed_origins))
    except ValueError as error:
        raise UsageError(f"--allow-origin: {error}", detail="Try: --allow-origin https://HOST:PORT") from error


def _build_access_policy(
    options: ServeOptions, secret: str, origins: frozenset[str], opened: socket.socket
) -> AccessPolicy:
    from llmcli.serve import api_server
    from llmcli.serve.batch_endpoints import FILES_PATH
    from llmcli.serve.middleware import LOOPBACK_HOSTS, AccessPolicy

    everywhere = api_server.is_wildcard(opened)
    names = {options.host.lower(), socket.gethostname().lower()} if everywhere else {options.host.lower()}
    return AccessPolicy(
        token=secret,
        hosts=LOOPBACK_HOSTS | names,
        allow_ip_hosts=everywhere,
        origins=origins,
        max_body_bytes=options.max_body_mb << 20,
        max_requests=options.max_requests,
        upload_path=FILES_PATH if options.batches else None,
    )


def _announce_address(ctx: CommandContext, opened: socket.socket, secret: str | None) -> None:
    """Report where the server listens, and a generated token: on stderr, even into a pipe, and at once."""
    from llmcli.serve import api_server

    url = api_server.socket_url(opened)
    if ctx.console.as_json:
        ctx.console.write_stderr(json.dumps({"listening": {"url": url, "token": secret}}))
        return
    if not api_server.is_loopback(opened) and not ctx.console.quiet:
        ctx.console.write_notice("others can reach this address; tokens and texts go over it unencrypted")
    ctx.console.write_stderr(f"listening on {url}")
    if secret:
        ctx.console.write_stderr(f"token {secret}")
