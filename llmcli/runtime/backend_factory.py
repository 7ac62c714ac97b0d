"""Building the backend: on the worker, in this process, or on a remote server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.config.engine_options import EngineOptions
from llmcli.engine_library import EngineLibrary, find_library
from llmcli.errors import AccessDenied, OutputError, TemporaryFailure
from llmcli.fast_dataclass import replace
from llmcli.files import private_files
from llmcli.interrupt import Interrupt
from llmcli.machine_needs import SERVER, MachineNeeds
from llmcli.runtime.model_weights import ORIGINAL_CHOICE, ChosenWeights, resolve_weights
from llmcli.runtime.run_config import RunConfig, engine_options
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.backends.base import Backend
    from llmcli.backends.remote.transport.cost_budget import CostBudget
    from llmcli.config.backend_config import ServerConfig
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.worker.client.channel import WorkerLauncher

_GREETING_TIMEOUT_S = 10.0
"""Seconds after which a silent worker counts as hung."""
_COALESCE_S = 0.1
"""Coalescing delay in seconds for text that is not shown as it arrives."""


def require_engine(config: RunConfig) -> EngineLibrary:
    """Return the engine that runs models; if there is none, the user may install one. Raises as ``install_first``."""
    library = find_library(config.environ)
    if library is None:
        from llmcli.runtime.engine_install import install_first

        library = install_first(config)
    return library


def build_local(
    config: RunConfig, models: ModelLibrary, model: ModelFile, weights: ChosenWeights = ORIGINAL_CHOICE
) -> Backend:
    """Return the backend for a verified model: on a worker, or in this process if no worker can run.

    Raises as ``require_engine``, and what ``check_memory`` raises for a model that no worker holds yet.
    """
    config.observer.engine_used(require_engine(config))
    options = engine_options(config.settings, config.paths.cache, model, weights.weights)
    with config.observer.waiting(Phase.STARTING, model.name):
        backend = _build_worker_or_engine(config, models, model, options, weights)
    _report_waiting(config, model.name)
    return backend


def _build_worker_or_engine(
    config: RunConfig, models: ModelLibrary, model: ModelFile, options: EngineOptions, weights: ChosenWeights
) -> Backend:
    if config.settings["worker"] == "on":
        try:
            return _build_worker_backend(config, models, model, options, weights)
        except (AccessDenied, OutputError, TemporaryFailure) as error:
            config.observer.worker_unavailable(error)
    from llmcli.runtime.preflight import check_adapters, check_address_space, check_memory

    check_adapters(model, config.observer)
    check_memory(weights.loaded_file(model), config.settings, models)
    check_address_space(weights.loaded_file(model), config.settings)
    return open_local_backend(
        model.path,
        name=model.name,
        model_id=model.model_id,
        options=options,
        interrupt=config.interrupt,
        on_loading=lambda share: _report_loading(config, model.name, share),
    )


def _build_worker_backend(
    config: RunConfig, models: ModelLibrary, model: ModelFile, options: EngineOptions, weights: ChosenWeights
) -> Backend:
    from llmcli.backends.worker_backend import WorkerBackend

    launcher, observer = build_launcher(config, models, model, options, weights), config.observer
    backend = WorkerBackend(
        launcher,
        replace(options, gpu_layers=None, adapters=()),  # the worker has its own
        config.interrupt,
        pause=0.0 if observer.is_watched else _COALESCE_S,
        on_loading=(lambda share: _report_loading(config, model.name, share)) if observer.wants_progress else None,
    )
    if not (launcher.spawned or backend.wait_for_response(_GREETING_TIMEOUT_S)):
        backend.close()
        raise TemporaryFailure("the worker", detail=f"it does not answer; end it with: llm worker stop {launcher.pid}")
    observer.explain(f"{'started a' if launcher.spawned else 'found the'} worker for {model.name}")
    return backend


def build_remote(
    config: RunConfig,
    server: ServerConfig,
    origin: str,
    model_name: str | None,
    budget: CostBudget | None = None,
    *,
    labels: bool = False,
) -> Backend:
    """Return the backend on a server, or on several, that has the user's consent; ``origin`` says where it was chosen.

    ``budget`` limits what its requests cost. ``labels``: see ``RemoteBackend``; servers with different models give
    labels of one machine as little as those of others. Sends nothing. Raises as ``find_key``.
    """
    from llmcli.backends.remote.load_balancing_backend import SINGLE_TRY, LoadBalancingBackend
    from llmcli.backends.remote.remote_backend import DEFAULT_RETRY_POLICY, RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.network.proxies import find_proxy

    context_tokens = config.settings["ctx"]
    _report_waiting(config, server.label)
    config.observer.explain(f"server {server.address} ({origin})")

    members = [
        RemoteBackend(
            member,
            find_key(member, config.environ, config.paths.keys),
            config.interrupt,
            model=model_name,
            context=None if context_tokens == "auto" else context_tokens,
            proxy=find_proxy(member.base_url, config.environ),
            cache=config.paths.cache,
            retry_policy=SINGLE_TRY,
            labels=labels and not server.mixed,
            warn=config.observer.warn,
        )
        for member in server.members
    ]
    return LoadBalancingBackend(server, members, config.interrupt, DEFAULT_RETRY_POLICY, budget=budget)


def _report_loading(config: RunConfig, name: str, share: float) -> None:
    """Report how much of the model called ``name`` is loaded."""
    if share < 1:
        config.observer.report_progress(Progress(int(100 * share), 100, "percent", name, Phase.LOADING))
    else:
        _report_waiting(config, name)


def _report_waiting(config: RunConfig, name: str) -> None:
    """Report which model or server is waited for."""
    config.observer.report_progress(Progress(0, None, "", name, Phase.WAITING))


def open_local_backend(
    path: Path,
    *,
    name: str,
    model_id: str,
    options: EngineOptions,
    interrupt: Interrupt,
    on_loading: Callable[[float], None] = lambda _share: None,
) -> Backend:
    """Start loading the model at ``path`` and return; see ``engine.engine.Engine`` for what it raises later.

    A model that was never loaded here, according to ``options.cache``, is checked first: see ``load_check.check_once``
    for what that raises. ``on_loading``: see ``Engine``.
    """
    from llmcli.engine.engine import Engine
    from llmcli.engine.llama import load_check

    if options.cache is not None:
        load_check.check_once(
            path,
            model_id,
            options.cache,
            gpu_layers=options.gpu_layers,
            stop=lambda: interrupt.error,
            adapters=options.adapters,
        )
    return Engine(path, name, model_id, options, lambda: interrupt.error, on_loading=on_loading)


def start_worker(config: RunConfig, models: ModelLibrary, model: ModelFile) -> None:
    """Start the worker for a model, unless it runs. Raises as ``WorkerLauncher.connect`` and ``worker_launcher``."""
    with config.observer.waiting(Phase.STARTING, model.name):
        worker_launcher(config, models, model).connect().close()


def worker_launcher(
    config: RunConfig, models: ModelLibrary, model: ModelFile, needs: MachineNeeds = SERVER
) -> WorkerLauncher:
    """Return the launcher of the worker for a verified model; its ``config.weights`` are those that answer ``needs``.

    Raises as ``check_memory``, ``check_context`` and ``resolve_weights``.
    """
    from llmcli.runtime.preflight import check_context

    check_context(model, config.settings)
    weights = resolve_weights(config, models, model, needs)
    options = engine_options(config.settings, config.paths.cache, model, weights.weights)
    return build_launcher(config, models, model, options, weights)


def log_directory(paths: AppPaths) -> Path:
    """Return the directory of the workers' logs."""
    return paths.log.absolute() / "workers"


def log_file(paths: AppPaths, name: str) -> Path:
    """Return the log of the workers for the model called ``name``; the previous one ends in ".old.log"."""
    return log_directory(paths) / f"{name.replace('/', '_')}.log"


def build_launcher(
    config: RunConfig,
    models: ModelLibrary,
    model: ModelFile,
    options: EngineOptions,
    weights: ChosenWeights = ORIGINAL_CHOICE,
) -> WorkerLauncher:
    """Return the launcher of the worker for a model, which loads ``weights`` first.

    See ``_probe_model`` if none runs.
    """
    from llmcli.worker import runtime_dir
    from llmcli.worker.client.channel import WorkerLauncher
    from llmcli.worker.runtime_dir import WorkerConfig

    settings, environ = config.settings, config.environ
    directory = runtime_dir.find_runtime_dir(environ)
    path = model.path.absolute()
    plan = WorkerConfig(
        path=str(path),
        name=model.name,
        model_id=model.model_id,
        gpu_layers=options.gpu_layers,
        idle_timeout=settings["worker.idle_timeout"],
        log=str(log_file(config.paths, model.name)),
        weights=options.weights,
        cache=None if options.cache is None else str(options.cache),
        adapters=_dump_adapters(model),
    )
    loaded = weights.loaded_file(model)

    def before() -> None:
        from llmcli.runtime.preflight import check_adapters, check_memory, evict_idle_workers

        check_adapters(model, config.observer)
        evict_idle_workers(loaded, settings, directory)
        check_memory(loaded, settings, models)

    key = runtime_dir.worker_key(path, options.gpu_layers, environ, model.adapters_id)
    paths = runtime_dir.WorkerPaths(directory, key)
    launcher = WorkerLauncher(paths, plan, environ, before)
    launcher.draft = model.draft_path
    if not launcher.paths.socket.exists():
        _probe_model(config, loaded, options, before)
    return launcher


def _dump_adapters(model: ModelFile) -> str:
    """Return the adapters of a model as text; a warm command without any imports nothing."""
    if not model.adapters:
        return ""
    from llmcli.config.engine_options import dump_adapters

    return dump_adapters(model.adapters)


def _probe_model(config: RunConfig, model: ModelFile, options: EngineOptions, before: Callable[[], None]) -> None:
    """Load a model that was never loaded here in a separate process first, so that a bad file cannot end a worker.

    Raises what ``before`` and ``check_once`` raise.
    """
    from llmcli.engine.llama import load_check

    model_id, cache = model.model_id, config.paths.cache
    if not private_files.exists(load_check.marker_path(cache, model.adapted_id)):
        before()
        load_check.check_once(
            model.path,
            model_id,
            cache,
            gpu_layers=options.gpu_layers,
            stop=lambda: config.interrupt.error,
            adapters=model.adapters,
        )
