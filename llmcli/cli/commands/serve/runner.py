"""What ``llm serve`` takes from other packages: models by name, the socket, the token, and the messages about them."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded, UsageError

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.serve.middleware import AccessPolicy
    from llmcli.serve.worker_router import ListedModel
    from llmcli.worker.client.launcher import WorkerLauncher

HOST, PORT = "127.0.0.1", 8033
_MIN_TOKEN_CHARS = 16
"""Minimum length of a token; shorter ones can be found by trying."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the user wants of the server; sizes in MB of 2**20 bytes."""

    host: str
    port: int
    socket: str | None
    token_file: str | None
    allowed_origins: Sequence[str]
    max_requests: int
    max_body_mb: int


class ServedModels:
    """The models of this machine as a ``ModelProvider``; models pulled or removed meanwhile are picked up."""

    def __init__(self, ctx: CommandContext) -> None:
        self._ctx = ctx

    def _library(self) -> ModelLibrary:
        from llmcli.models.library.model_library import ModelLibrary

        ctx = self._ctx
        return ModelLibrary(ctx.settings, ctx.paths, ctx.environment.environ, verb=ctx.verb)

    def list_models(self) -> list[ListedModel]:
        """Return the models on this machine, that of the setting too where it is a path."""
        from llmcli.serve.worker_router import ListedModel

        library = self._library()
        models = {model.name: model for model in library.list() if not model.missing and not model.damaged}
        with contextlib.suppress(MissingError, ModelNotDownloaded, BadModelFile):
            default = library.find()
            models.setdefault(default.name, default)
        return [ListedModel(name, int(model.path.stat().st_mtime)) for name, model in sorted(models.items())]

    def launcher_for(self, name: str | None) -> WorkerLauncher:
        """Return the launcher of a model's worker; a path named by a client is not accepted.

        Raises as ``ModelLibrary.ensure_verified`` and ``backend_factory.worker_launcher`` do.
        """
        from llmcli.models.files.paths import is_path
        from llmcli.runtime import backend_factory

        library = self._library()
        if name is not None and is_path(name) and name not in {model.name for model in self.list_models()}:
            raise MissingError(name, kind="model")
        return backend_factory.worker_launcher(self._ctx, library.ensure_verified(name, self._ctx.interrupt))


def serve_models(ctx: CommandContext, options: ServeOptions) -> None:
    """Serve until a signal arrives.

    Raises ``CannotListen``, ``UsageError`` for an invalid origin, what ``find_token`` raises, and the signal's error.
    """
    from llmcli.runtime import backend_factory
    from llmcli.serve import sockets, token
    from llmcli.serve.api_server import ApiServer
    from llmcli.worker import protocol

    origins = _parse_origins(options)
    given = token.find_token(options.token_file, ctx.environment.environ)
    secret = given or token.generate_token()
    where = (
        sockets.listen_unix(Path(options.socket)) if options.socket else sockets.listen_tcp(options.host, options.port)
    )
    engine = backend_factory.engine_options(ctx.settings, ctx.paths.cache.absolute())
    _check_default_model(ctx)
    with where as opened:
        server = ApiServer(
            ServedModels(ctx),
            protocol.dump_options(replace(engine, gpu_layers=None)),
            _build_access_policy(options, secret, origins, opened),
            lambda text: _write_notice(ctx, text),
            verbose=ctx.flags.verbose,
        )
        _announce_address(ctx, opened, None if given else secret)
        if len(secret) < _MIN_TOKEN_CHARS and not ctx.flags.quiet:
            _write_notice(ctx, f"the token has less than {_MIN_TOKEN_CHARS} characters: others may guess it")
        server.run_until(opened, lambda: ctx.interrupt.requested)
    ctx.interrupt.check()


def _check_default_model(ctx: CommandContext) -> None:
    """Report a problem with the configured model at start-up, before the first request for it."""
    try:
        ctx.models.find()
    except ModelNotDownloaded:  # the starter need not be here: requests may name others
        if ctx.settings["model"]:
            raise


def _parse_origins(options: ServeOptions) -> frozenset[str]:
    """Return the origins of the pages that may ask. Raises ``UsageError`` for what is none."""
    from llmcli.serve import middleware

    try:
        return frozenset(map(middleware.normalize_origin, options.allowed_origins))
    except ValueError as error:
        raise UsageError(f"--allow-origin: {error}", detail="Try: --allow-origin https://HOST:PORT") from error


def _build_access_policy(
    options: ServeOptions, secret: str, origins: frozenset[str], opened: socket.socket
) -> AccessPolicy:
    from llmcli.serve import sockets
    from llmcli.serve.middleware import LOOPBACK_HOSTS, AccessPolicy

    everywhere = sockets.is_wildcard(opened)
    names = {options.host.lower(), socket.gethostname().lower()} if everywhere else {options.host.lower()}
    return AccessPolicy(
        token=secret,
        hosts=LOOPBACK_HOSTS | names,
        allow_ip_hosts=everywhere,
        origins=origins,
        max_body_bytes=options.max_body_mb << 20,
        max_requests=options.max_requests,
    )


def _announce_address(ctx: CommandContext, opened: socket.socket, secret: str | None) -> None:
    """Say where the server listens, and the token where it was made up: on stderr, also into a pipe, and at once."""
    from llmcli.cli.console import error_messages
    from llmcli.serve import sockets

    url = sockets.socket_url(opened)
    if ctx.flags.json:
        error_messages.write_stderr(ctx.environment, json.dumps({"listening": {"url": url, "token": secret}}))
        return
    if not sockets.is_loopback(opened) and not ctx.flags.quiet:
        _write_notice(ctx, "others can reach this address; tokens and texts go over it unencrypted")
    error_messages.write_stderr(ctx.environment, f"listening on {url}")
    if secret:
        error_messages.write_stderr(ctx.environment, f"token {secret}")


def _write_notice(ctx: CommandContext, text: str) -> None:
    from llmcli.cli.console import error_messages, sanitize

    line = sanitize.single_line(text)
    error_messages.write_stderr(ctx.environment, json.dumps({"warning": line}) if ctx.flags.json else f"llm: {line}")
