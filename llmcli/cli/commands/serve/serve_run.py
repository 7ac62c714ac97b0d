"""``llm serve`` on the packages that it needs: models by name, the socket, the token, and messages."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded, UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.files.paths import is_path

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.serve.batch_queue import BatchQueue
    from llmcli.serve.middleware import AccessPolicy
    from llmcli.serve.worker_router import ListedModel
    from llmcli.worker.client.launcher import WorkerLauncher

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


class ServedModels:
    """The models of this machine as a ``ModelProvider``, which follows models pulled or removed while it runs.

    A draft model drafts for the default model only, since others may have another vocabulary.
    """

    def __init__(self, ctx: CommandContext) -> None:
        """Raises what finding and checking the models raises, if there is a draft model."""
        from llmcli.runtime.preflight import wants_draft

        self._ctx = ctx
        self._files: dict[str, str] = {}  # paths by the names that clients use for them
        self._drafted: ModelFile | None = None
        if wants_draft(ctx.runtime.config, ctx.runtime.needs):
            self._drafted = ctx.runtime.add_draft(ctx.runtime.resolve_model())

    def _library(self) -> ModelLibrary:
        from llmcli.models.library.model_library import ModelLibrary

        ctx = self._ctx
        return ModelLibrary(ctx.runtime.settings, ctx.runtime.paths, ctx.runtime.environ, verb=ctx.verb)

    def list_models(self) -> list[ListedModel]:
        """Return the models on this machine, and the configured model if that is a path, by the names that clients use.

        A model that is known by its path has its alias or the name of its file, with directories if that is taken.
        """
        from llmcli.serve.worker_router import ListedModel

        library = self._library()
        models = {model.name: model for model in library.list() if not model.missing and not model.damaged}
        with contextlib.suppress(MissingError, ModelNotDownloaded, BadModelFile):
            default = library.find()
            models.setdefault(default.name, default)
        self._files = _file_names(
            [model for name, model in models.items() if is_path(name)],
            {*models, *(alias.name for alias in library.defaults.aliases())},
        )
        served = {self._served_name(library, model): model for model in models.values()}
        return [ListedModel(name, int(model.path.stat().st_mtime)) for name, model in sorted(served.items())]

    def launcher_for(self, name: str | None) -> WorkerLauncher:
        """Return the launcher of a model's worker; a path named by a client is not accepted.

        The adapters of the settings belong to the default model.

        Raises as ``ModelLibrary.ensure_verified`` and ``worker_launcher`` do.
        """
        from llmcli.runtime.backend_factory import worker_launcher

        library, key = self._library(), self._files.get(name or "", name)
        if key is not None and key == name and is_path(key):
            raise MissingError(key, kind="model")
        model = library.ensure_verified(key, self._ctx.runtime.interrupt)
        if self._ctx.runtime.settings["lora"] and _is_default(model, library):
            model = self._ctx.runtime.add_adapters(model, registry=library.registry)
        if self._drafted is not None and model.path == self._drafted.path:
            model = replace(model, draft=self._drafted.draft)
        launcher = worker_launcher(self._ctx.runtime.config, library, model)
        launcher.served_name = self._served_name(library, model)
        return launcher

    def batch_options(self, name: str | None) -> list[str]:
        """Return the options of ``llm run-batch`` that choose the model and the weights of requests for ``name``.

        Raises as ``launcher_for``.
        """
        launcher = self.launcher_for(name)
        adapters = self._ctx.runtime.settings["lora"] if launcher.config.adapters else ("none",)
        return [
            *("-m", launcher.config.name, "--weights", launcher.config.weights),
            *(word for each in adapters for word in ("--lora", each)),
            *(word for each in (launcher.served_name, name) if each for word in ("--served-model-name", each)),
        ]

    def _served_name(self, library: ModelLibrary, model: ModelFile) -> str:
        """Return the name of a model for clients, which do not see the paths of this machine."""
        if not is_path(model.name):
            return model.name
        files = (name for name, path in self._files.items() if path == model.name)
        return [*library.aliases_of(model), *files, model.path.name][0]


def _file_names(models: Iterable[ModelFile], taken: Container[str]) -> dict[str, str]:
    """Return the names of models by the names of their files, with as many directories as set each apart from others."""
    found: dict[str, str] = {}
    for model in models:
        parts = model.path.parts
        tails = ("/".join(parts[-length:]) for length in range(1, len(parts) + 1))
        found[next(tail for tail in tails if tail not in found and tail not in taken)] = model.name
    return found


def _is_default(model: ModelFile, library: ModelLibrary) -> bool:
    with contextlib.suppress(MissingError, ModelNotDownloaded, BadModelFile):
        return library.find().path == model.path
    return False


def serve_models(ctx: CommandContext, options: ServeOptions) -> None:
    """Serve until a signal arrives.

    Raises ``CannotListen``, ``UsageError`` for an invalid origin, what ``find_token`` raises, and the signal's error.
    """
    from llmcli.runtime.run_config import engine_options
    from llmcli.serve import api_server, middleware
    from llmcli.serve.api_server import ApiServer
    from llmcli.worker import protocol

    origins = _parse_origins(options)
    given = middleware.find_token(options.token_file, ctx.runtime.environ)
    secret = given or middleware.generate_token()
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
