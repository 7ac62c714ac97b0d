"""Finding or starting the worker for a model, after checks of the file and of the memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.config.engine_options import EngineOptions
from llmcli.files import private_files
from llmcli.runtime.engine_settings import engine_options
from llmcli.runtime.model_weights import ORIGINAL_CHOICE, ChosenWeights, resolve_weights
from llmcli.runtime.run_config import RunConfig
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.worker.client.launcher import WorkerLauncher


def start_worker(config: RunConfig, models: ModelLibrary, model: ModelFile) -> None:
    """Start the worker for a model, unless it runs. Raises as ``WorkerLauncher.connect`` and ``worker_launcher``."""
    with config.observer.waiting(Phase.STARTING, model.name):
        worker_launcher(config, models, model).connect().close()


def worker_launcher(config: RunConfig, models: ModelLibrary, model: ModelFile) -> WorkerLauncher:
    """Return the launcher of the worker for a verified model; its ``config.weights`` are those that answer.

    Raises as ``check_memory``, ``check_context`` and ``resolve_weights``.
    """
    from llmcli.runtime.preflight import check_context

    check_context(model, config.settings)
    weights = resolve_weights(config, models, model, "serve")
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
    from llmcli.worker.client.launcher import WorkerLauncher
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
    from llmcli.config.lora_adapters import dump_adapters

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
