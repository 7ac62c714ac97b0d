"""Which backend answers: the worker, the engine in this process, or a server elsewhere. The only place that builds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import private_files
from llmcli.errors import AccessDenied, OutputError, TryAgain, Unsupported
from llmcli.types import EngineOptions, Phase, Progress

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.context import Context
    from llmcli.models.library import ModelFile
    from llmcli.settings import Settings
    from llmcli.worker.start import Starter

_FLASH = {"auto": None, "on": True, "off": False}
_UNIFIED = {"auto": None, "unified": True, "streams": False}
_SILENCE = 10.0
"""Seconds after which a worker that was found and says nothing counts as hung."""
_PAUSE = 0.1
"""Seconds for which the worker may gather text that nobody watches as it comes."""


def engine_options(settings: Settings, cache: Path) -> EngineOptions:
    """Return what the settings say about the engine, which keeps things in ``cache``."""

    def number(name: str) -> int | None:
        return None if settings[name] == "auto" else settings[name]

    return EngineOptions(
        ctx=number("ctx"),
        threads=number("threads"),
        gpu_layers=number("gpu_layers"),
        kv_type=None if settings["kv_type"] == "auto" else settings["kv_type"],
        flash_attention=_FLASH[settings["flash_attention"]],
        kv_unified=_UNIFIED[settings["kv_layout"]],
        deterministic=settings["deterministic"],
        cache=cache,
        prefix_bytes=settings["prefix_cache"] << 20,
        tune=settings["tune"] == "auto",
    )


def build_backend(cli: Context, model: ModelFile) -> Backend:
    """Return the backend for a verified model: on the worker, and where none can be had in this process.

    Raises what ``limits.check_fit`` raises, of a model that no worker holds yet.
    """
    from llmcli.cli.limits import check_context

    check_context(model, cli.settings)
    cli.answering = model.name
    options = engine_options(cli.settings, cli.paths.cache.absolute())
    with cli.status.waiting(Phase.STARTING, model.name):
        backend = _build(cli, model, options)
    _waits(cli)
    return backend


def _build(cli: Context, model: ModelFile, options: EngineOptions) -> Backend:
    from llmcli.cli.limits import check_fit

    if cli.settings["worker"] == "on":
        try:
            return _on_worker(cli, model, options)
        except (AccessDenied, OutputError, TryAgain) as error:
            from llmcli.cli import wording

            cli.explain(f"no worker, so the model runs in this process: {wording.words(error)[0]}")
    from llmcli.backends.local import LocalBackend

    check_fit(model, cli.settings, cli.models)
    return LocalBackend(
        model.path,
        name=model.name,
        model_id=model.sha256 or str(model.path),
        options=options,
        interrupt=cli.interrupt,
        on_loading=lambda share: _loads(cli, share),
    )


def _loads(cli: Context, share: float) -> None:
    """Say how much of the model is loaded, to somebody who waits for it."""
    if share < 1:
        cli.status.update(Progress(int(100 * share), 100, "percent", cli.answering, Phase.LOADING))
    else:
        _waits(cli)


def _waits(cli: Context) -> None:
    """Say whose word is waited for, if any is."""
    cli.status.update(Progress(0, None, "", cli.answering, Phase.WAITING))


def elsewhere(cli: Context) -> bool:
    """Whether a server elsewhere was named."""
    return cli.settings["base_url"] is not None or cli.settings["backend"] != "local"


def build_remote(cli: Context) -> Backend:
    """Return the backend on the server that was named, or on this machine where that goes before.

    Raises what ``remote.server`` and ``remote.allow`` raise, and what is wrong with its key; nothing is sent before.
    """
    from llmcli.cli import remote

    server, origin = remote.server(cli)
    if server is None:
        return build_backend(cli, cli.model())
    if cli.settings["deterministic"]:
        raise Unsupported("deterministic answers", detail=f"{server.label} promises none")
    remote.allow(cli, server)
    from llmcli.backends.remote.backend import RemoteBackend
    from llmcli.backends.remote.keys import find_key
    from llmcli.backends.remote.proxies import find_proxy

    environ, ctx = cli.world.environ, cli.settings["ctx"]
    cli.answering = server.label
    _waits(cli)
    cli.explain(f"server {server.base_url} ({origin})")
    return RemoteBackend(
        server,
        find_key(server, environ),
        cli.interrupt,
        model=cli.flags.model,
        context=None if ctx == "auto" else ctx,
        proxy=find_proxy(server, environ),
        cache=cli.paths.cache,
    )


def start(cli: Context, model: ModelFile) -> None:
    """Start the worker for a model, unless it runs. Raises what ``Starter.connect`` and ``limits.check_fit`` raise."""
    with cli.status.waiting(Phase.STARTING, model.name):
        _starter(cli, model, engine_options(cli.settings, cli.paths.cache.absolute())).connect().close()


def starter(cli: Context, model: ModelFile) -> Starter:
    """Return what finds or starts the worker for a verified model. Raises as ``start``."""
    from llmcli.cli.limits import check_context

    check_context(model, cli.settings)
    return _starter(cli, model, engine_options(cli.settings, cli.paths.cache.absolute()))


def log_directory(cli: Context) -> Path:
    """Return where workers write down what happens to them."""
    return cli.paths.log.absolute() / "workers"


def log_file(cli: Context, name: str) -> Path:
    """Return the log of the workers for the model called ``name``; the one before it has ".old" in its name."""
    return log_directory(cli) / f"{name.replace('/', '_')}.log"


def _on_worker(cli: Context, model: ModelFile, options: EngineOptions) -> Backend:
    from llmcli.backends.worker import WorkerBackend

    starter = _starter(cli, model, options)
    watched = cli.world.terminal(cli.world.stdout)
    backend = WorkerBackend(
        starter,
        replace(options, gpu_layers=None),
        cli.interrupt,
        pause=0.0 if watched else _PAUSE,
        on_loading=(lambda share: _loads(cli, share)) if cli.status.shown else None,
    )
    if not (starter.started or backend.greeted(_SILENCE)):
        backend.close()
        raise TryAgain("the worker", detail=f"it does not answer; end it with: llm worker stop {starter.pid}")
    cli.explain(f"{'started a' if starter.started else 'found the'} worker for {model.name}")
    return backend


def _try_out(cli: Context, model: ModelFile, options: EngineOptions, before: Callable[[], None]) -> None:
    """Have a model that was never loaded here load in a process of its own first: a bad file ends no worker.

    Raises what ``before`` and ``probe.once`` raise.
    """
    from llmcli.engine import probe

    model_id, cache = model.sha256 or str(model.path), cli.paths.cache
    if not private_files.exists(probe.mark_of(cache, model_id)):
        before()
        probe.once(model.path, model_id, cache, gpu_layers=options.gpu_layers, stop=lambda: cli.interrupt.error)


def _starter(cli: Context, model: ModelFile, options: EngineOptions) -> Starter:
    """Return what finds or starts the worker for a model; see ``_try_out`` where none runs."""
    from llmcli.worker import place
    from llmcli.worker.start import Plan, Starter

    environ, settings = cli.world.environ, cli.settings
    directory = place.directory(environ)
    path = model.path.absolute()
    plan = Plan(
        path=str(path),
        name=model.name,
        model_id=model.sha256 or str(path),
        gpu_layers=options.gpu_layers,
        idle_timeout=settings["worker.idle_timeout"],
        log=str(log_file(cli, model.name)),
    )

    def before() -> None:
        from llmcli.cli.limits import check_fit, make_room

        make_room(model, settings, directory)
        check_fit(model, settings, cli.models)

    starter = Starter(place.Place(directory, place.key(path, options.gpu_layers, environ)), plan, environ, before)
    if not starter.place.socket.exists():
        _try_out(cli, model, options, before)
    return starter
