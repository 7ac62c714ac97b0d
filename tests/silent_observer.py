"""An observer for tests of runs, which shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.config.backend_config import ServerConfig
    from llmcli.engine_library import EngineLibrary
    from llmcli.errors import LlmError, ModelNotDownloaded
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.runtime.run_config import ModelEvent
    from llmcli.types import Phase, Progress


class SilentObserver:
    """Shows nothing and answers no to every question."""

    wants_progress = False
    is_watched = False
    shows_variants = False

    def explain(self, text: str) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Ignore it."""

    def report_progress(self, progress: Progress) -> None:
        """Ignore it."""

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Return a context manager that does nothing."""
        return nullcontext()

    def server_used(self, server: ServerConfig) -> None:
        """Drop it."""

    def worker_unavailable(self, error: LlmError) -> None:
        """Ignore it."""

    def engine_used(self, library: EngineLibrary) -> None:
        """Ignore it."""

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Ignore it."""

    def show_model_events(self, events: Iterator[ModelEvent]) -> ModelFile:
        """Consume the events and return the model."""
        from llmcli.models.library.model_library import ModelFile

        *_, model = events
        assert isinstance(model, ModelFile)
        return model

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:
        """Refuse."""
        return False

    def confirm_engine(self, what: str) -> bool:
        """Refuse."""
        return False

    def show_installation(self, events: Generator[Progress, None, EngineLibrary]) -> EngineLibrary:
        """Consume the events and return the library."""
        while True:
            try:
                next(events)
            except StopIteration as end:
                return end.value

    def choose_first_model(self, models: ModelLibrary, policy: Callable[[], FitPolicy], verb: str) -> str | None:
        """Choose none."""
        return None

    def confirm_consent(self, hosts: Sequence[str]) -> bool:
        """Refuse."""
        return False
