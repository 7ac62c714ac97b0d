"""The reports and questions of a run on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from llmcli.cli.console.console import Console

if TYPE_CHECKING:
    from llmcli.config.backend_config import ServerConfig
    from llmcli.engine_library import EngineLibrary
    from llmcli.errors import LlmError, ModelNotDownloaded
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.runtime.run_config import ModelEvent
    from llmcli.types import Phase, Progress


class TerminalObserver:
    """Shows the reports of a run on the console, and asks its questions there."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def wants_progress(self) -> bool:
        """Whether the status line is shown."""
        return self._console.status_line.enabled

    @property
    def is_watched(self) -> bool:
        """Whether standard output is a terminal."""
        return self._console.stdout_is_terminal

    @property
    def shows_variants(self) -> bool:
        """Whether the variants of a repository are shown: on a terminal, or with ``-v``."""
        return self._console.shows_notes

    def explain(self, text: str) -> None:
        """Explain a choice, with ``-v``."""
        self._console.explain(text)

    def warn(self, text: str) -> None:
        """Warn, unless ``-q``."""
        self._console.warn(text)

    def report_progress(self, progress: Progress) -> None:
        """Show progress on the status line, if the run waits for it."""
        self._console.status_line.update(progress)

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Show on the status line what the block waits for."""
        return self._console.status_line.waiting(phase, label)

    def server_used(self, server: ServerConfig) -> None:
        """Name the server, or all of several, on a terminal."""
        if self._console.shows_notes:
            where = f"{server.name} ({server.address})" if server.base_urls else server.label
            self._console.write_explanation(f"text is sent to {where}")

    def worker_unavailable(self, error: LlmError) -> None:
        """Explain why the model runs in this process, with ``-v``."""
        from llmcli.cli.console import error_messages

        why = error_messages.describe(error)[0]
        self._console.explain(f"no worker, so the model runs in this process: {why}")

    def engine_used(self, library: EngineLibrary) -> None:
        """Name the engine, with ``-v``."""
        if self._console.verbose:
            from llmcli.runtime.engine_install import describe_engine

            self._console.explain_once([f"engine {describe_engine(library)}"])

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Name the model that answers, with ``-v``; on a terminal, also explain a base model at its first use."""
        named, origin = models.default_model()
        called = "" if named == model.name else f", called {named}"
        self._console.explain_once(
            [
                f"model {model.name}{called} ({origin}), file {model.path}",
                *(f"LoRA adapter {each.path}, scale {each.scale:g}, SHA-256 {each.sha256}" for each in model.adapters),
            ]
        )
        if self._console.stderr_is_terminal:
            from llmcli.cli.render import base_model_notice

            base_model_notice.explain_base_model_once(self._console, models, model)

    def show_model_events(self, events: Iterator[ModelEvent]) -> ModelFile:
        """Show what happens to a model, with a progress bar on a terminal, and return it."""
        from llmcli.cli.render.model_events import show_model_events

        return show_model_events(self._console, events)

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:
        """Ask at the terminal; answer no without one."""
        from llmcli.cli.console import confirm

        return confirm.confirm_download(self._console, missing)

    def confirm_engine(self, what: str) -> bool:
        """Ask at the terminal; answer no without one."""
        from llmcli.cli.console import confirm

        question = f"llm: llama.cpp, which runs models, is not on this machine. Download {what}?"
        return confirm.can_ask(self._console) and confirm.ask_yes_no(self._console, question, enter=False)

    def show_installation(self, events: Generator[Progress, None, EngineLibrary]) -> EngineLibrary:
        """Show its progress on the status line, and return the library."""
        from llmcli.cli.render.model_events import show_installation

        return show_installation(self._console, events)

    def choose_first_model(self, models: ModelLibrary, policy: Callable[[], FitPolicy], verb: str) -> str | None:
        """Ask at the terminal which model to download; choose none without one."""
        from llmcli.cli.console import confirm

        if not confirm.can_ask(self._console):
            return None
        from llmcli.cli import model_question

        return model_question.choose_first_model(self._console, models, policy(), verb)

    def confirm_consent(self, hosts: Sequence[str]) -> bool:
        """Ask at the terminal; answer no without one."""
        from llmcli.cli.console import confirm

        return confirm.confirm_consent(self._console, hosts)
