"""Building the backend: on the worker, in this process, or on a remote server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.config.engine_options import EngineOptions
from llmcli.errors import AccessDenied, OutputError, TemporaryFailure
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.runtime.engine_settings import engine_options
from llmcli.runtime.model_weights import ORIGINAL_CHOICE, ChosenWeights
from llmcli.runtime.run_config import RunConfig
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.backends.remote.transport.cost_budget import CostBudget
    from llmcli.config.backend_config import ServerConfig
    from llmcli.models.library.model_library import ModelFile, ModelLibrary

_GREETING_TIMEOUT_S = 10.0
"""Seconds after which a silent worker counts as hung."""
_COALESCE_S = 0.1
"""Coalescing delay in seconds for text that is not shown as it arrives."""


def build_local(
    config: RunConfig, models: ModelLibrary, model: ModelFile, weights: ChosenWeights = ORIGINAL_CHOICE
) -> Backend:
    """Return the backend for a verified model: on a worker, or in this process if no worker can run.

    Raises what ``check_memory`` raises for a model that no worker holds yet.
    """
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
    from llmcli.runtime.preflight import check_adapters, check_memory

    check_adapters(model, config.observer)
    check_memory(weights.loaded_file(model), config.settings, models)
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
    from llmcli.runtime.worker_launch import build_launcher

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
    config: RunConfig, server: ServerConfig, origin: str, model_name: str | None, budget: CostBudget | None = None
) -> Backend:
    """Return the backend on a server that has the user's consent; ``origin`` says where it was chosen.

    ``budget`` limits what its requests cost. Sends nothing. Raises as ``find_key``.
    """
    from llmcli.backends.remote.remote_backend import RemoteBackend
    from llmcli.backends.remote.transport.api_keys import find_key
    from llmcli.backends.remote.transport.proxies import find_proxy

    context_tokens = config.settings["ctx"]
    _report_waiting(config, server.label)
    config.observer.explain(f"server {server.base_url} ({origin})")
    return RemoteBackend(
        server,
        find_key(server, config.environ, config.paths.keys),
        config.interrupt,
        model=model_name,
        context=None if context_tokens == "auto" else context_tokens,
        proxy=find_proxy(server, config.environ),
        cache=config.paths.cache,
        budget=budget,
    )


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
