"""Finding or starting the worker for a model, after checks of the file and of the memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.files import private_files
from llmcli.runtime.engine_settings import engine_options
from llmcli.runtime.run_config import RunConfig
from llmcli.types import EngineOptions, Phase

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.worker.client.launcher import WorkerLauncher


def start_worker(config: RunConfig, models: ModelLibrary, model: ModelFile) -> None:
    """Start the worker for a model, unless it runs. Raises as ``WorkerLauncher.connect`` and ``check_memory``."""
    with config.observer.waiting(Phase.STARTING, model.name):
        build_launcher(config, models, model, engine_options(config.settings, config.paths.cache)).connect().close()


def worker_launcher(
    config: RunConfig, models: ModelLibrary, model: ModelFile, draft: ModelFile | None = None
) -> WorkerLauncher:
    """Return the launcher of the worker for verified models. Raises as ``start_worker``."""
    from llmcli.runtime.preflight import check_context

    check_context(model, config.settings)
    return build_launcher(config, models, model, engine_options(config.settings, config.paths.cache), draft)


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
    draft: ModelFile | None = None,
) -> WorkerLauncher:
    """Return the launcher of the worker for a model; see ``_probe_model`` if none runs.

    ``draft`` will draft for it, so that a new worker needs memory for both.
    """
    from llmcli.worker import runtime_dir
    from llmcli.worker.client.launcher import WorkerLauncher
    from llmcli.worker.worker_config import WorkerConfig

    settings, environ = config.settings, config.environ
    directory = runtime_dir.find_runtime_dir(environ)
    path = model.path.absolute()
    plan = WorkerConfig(
        path=str(path),
        name=model.name,
        model_id=model.sha256 or str(path),
        gpu_layers=options.gpu_layers,
        idle_timeout=settings["worker.idle_timeout"],
        log=str(log_file(config.paths, model.name)),
    )

    def before() -> None:
        from llmcli.runtime.preflight import check_memory, evict_idle_workers

        evict_idle_workers(model, settings, directory, draft)
        check_memory(model, settings, models, draft)

    paths = runtime_dir.WorkerPaths(directory, runtime_dir.worker_key(path, options.gpu_layers, environ))
    launcher = WorkerLauncher(paths, plan, environ, before)
    launcher.draft = None if draft is None else draft.path.absolute()
    if not launcher.paths.socket.exists():
        _probe_model(config, model, options, before)
    return launcher


def _probe_model(config: RunConfig, model: ModelFile, options: EngineOptions, before: Callable[[], None]) -> None:
    """Load a model that was never loaded here in a separate process first, so that a bad file cannot end a worker.

    Raises what ``before`` and ``check_once`` raise.
    """
    from llmcli.engine.llama import load_check

    model_id, cache = model.sha256 or str(model.path), config.paths.cache
    if not private_files.exists(load_check.marker_path(cache, model_id)):
        before()
        load_check.check_once(
            model.path, model_id, cache, gpu_layers=options.gpu_layers, stop=lambda: config.interrupt.error
        )
