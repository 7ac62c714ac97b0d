"""The inputs of a run, and its observer.

The command line shows reports and questions on a terminal; other programs stay silent.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmcli.app_paths import AppPaths
from llmcli.config.engine_options import EngineOptions
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.settings import ORIGINAL_WEIGHTS, Settings

if TYPE_CHECKING:
    from llmcli.config.backend_config import ServerConfig
    from llmcli.engine_library import EngineLibrary
    from llmcli.errors import LlmError, ModelNotDownloaded
    from llmcli.models.hub.variants import VariantList
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.types import Notice, Phase, Progress

    ModelEvent = Progress | Notice | VariantList | ModelFile
    "Events while a model is downloaded, checked or imported; the model itself comes last."
    from llmcli.models.files.model_file import ModelFile
    from llmcli.settings import Settings


class RunObserver(Protocol):
    """Receives the reports of a run and answers its questions."""

    @property
    def wants_progress(self) -> bool:
        """Whether progress is shown."""
        ...

    @property
    def is_watched(self) -> bool:
        """Whether a person watches answers as they arrive: text is then not coalesced."""
        ...

    @property
    def shows_variants(self) -> bool:
        """Whether the variants of a repository are shown, with their speed."""
        ...

    def explain(self, text: str) -> None:
        """Receive a sentence that explains a choice."""
        ...

    def warn(self, text: str) -> None:
        """Receive a warning that concerns more than this run."""
        ...

    def report_progress(self, progress: Progress) -> None:
        """Receive the progress of the work that the run waits for."""
        ...

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Return a context manager for a block that waits for something."""
        ...

    def server_used(self, server: ServerConfig) -> None:
        """Take which server on another machine will get text; nothing was sent yet."""
        ...

    def worker_unavailable(self, error: LlmError) -> None:
        """Receive the reason why the model runs in this process rather than in a worker."""
        ...

    def engine_used(self, library: EngineLibrary) -> None:
        """Receive which library of llama.cpp runs the model."""
        ...

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Receive which of ``models`` answers."""
        ...

    def show_model_events(self, events: Iterator[ModelEvent]) -> ModelFile:
        """Consume the events and return the model."""
        ...

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:
        """Return whether a missing model may be downloaded."""
        ...

    def confirm_engine(self, what: str) -> bool:
        """Return whether a prebuilt llama.cpp may be downloaded, since there is none; ``what`` describes it."""
        ...

    def show_installation(self, events: Generator[Progress, None, EngineLibrary]) -> EngineLibrary:
        """Consume the progress of an installation and return the library."""
        ...

    def choose_first_model(self, models: ModelLibrary, policy: Callable[[], FitPolicy], verb: str) -> str | None:
        """Return the name of the model that a user without any wants for ``verb``, None for none.

        The model need not be on this machine. ``policy`` returns the limits and the speed of this machine.
        """
        ...

    def confirm_consent(self, hosts: Sequence[str]) -> bool:
        """Return whether the user consents to sending data to these hosts, from now on."""
        ...


@frozen
class RunConfig:
    """Settings, directories, environment variables, interrupt and observer of a run."""

    settings: Settings
    paths: AppPaths
    environ: Mapping[str, str]
    interrupt: Interrupt
    observer: RunObserver

    @property
    def gpu_layers(self) -> int | None:
        """How many layers to offload, None for as many as fit."""
        layers: int | None = None if self.settings["gpu_layers"] == "auto" else self.settings["gpu_layers"]
        return layers


_FLASH_ATTENTION = {"auto": None, "on": True, "off": False}
_KV_UNIFIED = {"auto": None, "unified": True, "streams": False}


def engine_options(
    settings: Settings, cache: Path, model: ModelFile | None = None, weights: str = ORIGINAL_WEIGHTS
) -> EngineOptions:
    """Return the engine options of the settings, for ``model`` with its adapters and draft model, if it is known.

    ``weights``: the type that was chosen for it. The engine keeps its files in ``cache``.
    """

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
        cache=cache.absolute(),
        prefix_bytes=settings["prefix_cache"] << 20,
        tune=settings["tune"] == "auto",
        derived_bytes=settings.copies_bytes,
        weights=weights,
        adapters=() if model is None else model.adapters,
        draft=None if model is None else model.draft_path,
    )
