"""Whom a run reports to and asks: the command line shows it on a terminal, a program without one stays silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llmcli.backend_config import ServerConfig
    from llmcli.errors import LlmError, ModelNotDownloaded
    from llmcli.models.hub.variants import VariantList
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.types import Notice, Phase, Progress

    ModelEvent = Progress | Notice | VariantList | ModelFile
    """What happens while a model is fetched, checked or imported; the model itself comes last."""


class RunObserver(Protocol):
    """Is told what a run does, and answers its questions."""

    @property
    def wants_progress(self) -> bool:
        """Whether progress is shown."""
        ...

    @property
    def is_watched(self) -> bool:
        """Whether a person watches answers as they come: text is then not coalesced."""
        ...

    @property
    def shows_variants(self) -> bool:
        """Whether the variants of a repository are shown, with their speed."""
        ...

    def explain(self, text: str) -> None:
        """Take a sentence about what was chosen."""
        ...

    def warn(self, text: str) -> None:
        """Take a warning that concerns more than this run."""
        ...

    def report_progress(self, progress: Progress) -> None:
        """Take how far the work is that is waited for."""
        ...

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Return a context manager for a block that waits for something."""
        ...

    def server_used(self, server: ServerConfig) -> None:
        """Take which server on another machine will get text; nothing was sent yet."""
        ...

    def worker_unavailable(self, error: LlmError) -> None:
        """Take why the model runs in this process rather than in a worker."""
        ...

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Take which of ``models`` answers."""
        ...

    def show_model_events(self, events: Iterator[ModelEvent]) -> ModelFile:
        """Run the events to their end and return the model."""
        ...

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:
        """Answer whether a missing model may be fetched."""
        ...

    def confirm_consent(self, server: ServerConfig) -> bool:
        """Answer whether a server may have what is sent, from now on."""
        ...


class SilentObserver:
    """Shows nothing and answers no to every question."""

    wants_progress = False
    is_watched = False
    shows_variants = False

    def explain(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Drop it."""

    def report_progress(self, progress: Progress) -> None:
        """Drop it."""

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:  # noqa: ARG002 (the protocol's)
        """Return a context manager that does nothing."""
        return nullcontext()

    def server_used(self, server: ServerConfig) -> None:
        """Drop it."""

    def worker_unavailable(self, error: LlmError) -> None:
        """Drop it."""

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Drop it."""

    def show_model_events(self, events: Iterator[ModelEvent]) -> ModelFile:
        """Run the events to their end and return the model."""
        from llmcli.models.library.model_library import ModelFile

        *_, model = events
        assert isinstance(model, ModelFile)
        return model

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:  # noqa: ARG002 (the protocol's)
        """Refuse."""
        return False

    def confirm_consent(self, server: ServerConfig) -> bool:  # noqa: ARG002 (the protocol's)
        """Refuse."""
        return False
