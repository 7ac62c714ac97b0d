"""Choosing and building the backend: the worker, the engine in this process, or a remote server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import private_files
from llmcli.errors import AccessDenied, OutputError, TemporaryFailure, Unsupported
from llmcli.types import EngineOptions, Phase, Progress

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.command_context import CommandContext
    from llmcli.models.library.model_library import ModelFile
    from llmcli.settings import Settings
    from llmcli.worker.client.launcher import WorkerLauncher

_FLASH_ATTENTION = {"auto": None, "on": True, "off": False}
_KV_UNIFIED = {"auto": None, "unified": True, "streams": False}
_GREETING_TIMEOUT_S = 10.0
"""Seconds after which a worker that was found and says nothing counts as hung."""
_COALESCE_S = 0.1
"""Seconds for which the worker may coalesce text when standard output is no terminal."""


def engine_options(settings: Settings, cache: Path) -> EngineOptions:
    """Return what the settings say about the engine, which keeps things in ``cache``."""

    def number(name: str) -> int | None:
        return None if settings[name] == "auto" else settings[name]

    return EngineOptions(
        ctx=number("ctx"),
        threads=number("threads"),
        gpu_layers=number("gpu_layers"),
        kv_type=None if settings["kv_type"] == "auto" else settings["kv_type"],
        flash_attention=_FLASH_ATTENTION[settings["flash_attention"]],
        kv_unified=_KV_UNIFIED[settings["kv_layout"]],
        deterministic=settings["deterministic"],
        cache=cache,
        prefix_bytes=settings["prefix_cache"] << 20,
        tune=settings["tune"] == "auto",
    )


def build_backend(ctx: CommandContext, model: ModelFile) -> Backend:
    """Return the backend for a verified model: on the worker, and where none can be had in this process.

    Raises what ``check_context`` raises, and ``check_memory`` for a model that no worker holds yet.
    """
    from llmcli.runtime.preflight import check_context

    check_context(model, ctx.settings)
    ctx.responder_name = model.name
    options = engine_options(ctx.settings, ctx.paths.cache.absolute())
    with ctx.status_line.waiting(Phase.STARTING, model.name):
        backend = _build_local(ctx, model, options)
    _report_waiting(ctx)
    return backend


def _build_local(ctx: CommandContext, model: ModelFile, options: EngineOptions) -> Backend:
    from llmcli.runtime.preflight import check_memory

    if ctx.settings["worker"] == "on":
        try:
            return _build_worker_backend(ctx, model, options)
        except (AccessDenied, OutputError, TemporaryFailure) as error:
            from llmcli.cli.console import error_messages

            ctx.explain(f"no worker, so the model runs in this process: {error_messages.describe(error)[0]}")
    from llmcli.backends.local import open_local_backend

    check_memory(model, ctx.settings, ctx.models)
    return open_local_backend(
        model.path,
        name=model.name,
        model_id=model.sha256 or str(model.path),
        options=options,
        interrupt=ctx.interrupt,
        on_loading=lambda share: _report_loading(ctx, share),
    )


def _report_loading(ctx: CommandContext, share: float) -> None:
    """Show on the status line how much of the model is loaded."""
    if share < 1:
        ctx.status_line.update(Progress(int(100 * share), 100, "percent", ctx.responder_name, Phase.LOADING))
    else:
        _report_waiting(ctx)


def _report_waiting(ctx: CommandContext) -> None:
    """Show on the status line which model or server is waited for."""
    ctx.status_line.update(Progress(0, None, "", ctx.responder_name, Phase.WAITING))


def is_remote(ctx: CommandContext) -> bool:
    """Whether a remote server was chosen."""
    return ctx.settings["base_url"] is not None or ctx.settings["backend"] != "local"


def build_remote(ctx: CommandContext) -> Backend:
    """Return the backend on the server that was named, or on this machine where that goes before.

    Raises what ``chosen_server``, ``require_consent`` and ``find_key`` raise, before anything is sent.
    """
    from llmcli.runtime import consent

    server, origin = consent.chosen_server(ctx)
    if server is None:
        return build_backend(ctx, ctx.resolve_model())
    if ctx.settings["deterministic"]:
        raise Unsupported("deterministic answers", detail=f"{server.label} promises none")
    consent.require_consent(ctx, server)
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.backends.remote.transport.proxies import find_proxy

    environ, context_tokens = ctx.environment.environ, ctx.settings["ctx"]
    ctx.responder_name = server.label
    _report_waiting(ctx)
    ctx.explain(f"server {server.base_url} ({origin})")
    return RemoteBackend(
        server,
        find_key(server, environ),
        ctx.interrupt,
        model=ctx.flags.model,
        context=None if context_tokens == "auto" else context_tokens,
        proxy=find_proxy(server, environ),
        cache=ctx.paths.cache,
    )


def start_worker(ctx: CommandContext, model: ModelFile) -> None:
    """Start the worker for a model, unless it runs. Raises as ``WorkerLauncher.connect`` and ``check_memory``."""
    with ctx.status_line.waiting(Phase.STARTING, model.name):
        _build_launcher(ctx, model, engine_options(ctx.settings, ctx.paths.cache.absolute())).connect().close()


def worker_launcher(ctx: CommandContext, model: ModelFile) -> WorkerLauncher:
    """Return what finds or starts the worker for a verified model. Raises as ``start_worker``."""
    from llmcli.runtime.preflight import check_context

    check_context(model, ctx.settings)
    return _build_launcher(ctx, model, engine_options(ctx.settings, ctx.paths.cache.absolute()))


def log_directory(ctx: CommandContext) -> Path:
    """Return where workers write down what happens to them."""
    return ctx.paths.log.absolute() / "workers"


def log_file(ctx: CommandContext, name: str) -> Path:
    """Return the log of the workers for the model called ``name``; the one before it has ".old" in its name."""
    return log_directory(ctx) / f"{name.replace('/', '_')}.log"


def _build_worker_backend(ctx: CommandContext, model: ModelFile, options: EngineOptions) -> Backend:
    from llmcli.backends.worker_backend import WorkerBackend

    starter = _build_launcher(ctx, model, options)
    watched = ctx.environment.is_terminal(ctx.environment.stdout)
    backend = WorkerBackend(
        starter,
        replace(options, gpu_layers=None),
        ctx.interrupt,
        pause=0.0 if watched else _COALESCE_S,
        on_loading=(lambda share: _report_loading(ctx, share)) if ctx.status_line.enabled else None,
    )
    if not (starter.spawned or backend.wait_for_response(_GREETING_TIMEOUT_S)):
        backend.close()
        raise TemporaryFailure("the worker", detail=f"it does not answer; end it with: llm worker stop {starter.pid}")
    ctx.explain(f"{'started a' if starter.spawned else 'found the'} worker for {model.name}")
    return backend


def _probe_model(ctx: CommandContext, model: ModelFile, options: EngineOptions, before: Callable[[], None]) -> None:
    """Have a model that was never loaded here load in a process of its own first: a bad file ends no worker.

    Raises what ``before`` and ``check_once`` raise.
    """
    from llmcli.engine.llama import load_check

    model_id, cache = model.sha256 or str(model.path), ctx.paths.cache
    if not private_files.exists(load_check.marker_path(cache, model_id)):
        before()
        load_check.check_once(
            model.path, model_id, cache, gpu_layers=options.gpu_layers, stop=lambda: ctx.interrupt.error
        )


def _build_launcher(ctx: CommandContext, model: ModelFile, options: EngineOptions) -> WorkerLauncher:
    """Return what finds or starts the worker for a model; see ``_probe_model`` where none runs."""
    from llmcli.worker import runtime_dir
    from llmcli.worker.client.launcher import WorkerLauncher
    from llmcli.worker.worker_config import WorkerConfig

    environ, settings = ctx.environment.environ, ctx.settings
    directory = runtime_dir.find_runtime_dir(environ)
    path = model.path.absolute()
    plan = WorkerConfig(
        path=str(path),
        name=model.name,
        model_id=model.sha256 or str(path),
        gpu_layers=options.gpu_layers,
        idle_timeout=settings["worker.idle_timeout"],
        log=str(log_file(ctx, model.name)),
    )

    def before() -> None:
        from llmcli.runtime.preflight import check_memory, evict_idle_workers

        evict_idle_workers(model, settings, directory)
        check_memory(model, settings, ctx.models)

    starter = WorkerLauncher(
        runtime_dir.WorkerPaths(directory, runtime_dir.worker_key(path, options.gpu_layers, environ)),
        plan,
        environ,
        before,
    )
    if not starter.paths.socket.exists():
        _probe_model(ctx, model, options, before)
    return starter
