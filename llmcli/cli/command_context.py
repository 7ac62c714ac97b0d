"""One run of one command: the options as typed, the console, the runtime, and what this reports on the console."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmcli import fast_dataclass
from llmcli.cli.command_registry import command_path
from llmcli.cli.console.console import Console
from llmcli.cli.flags import Flags, Writes, flag_settings, shared_options
from llmcli.interrupt import Interrupt
from llmcli.machine_needs import UNKNOWN_WORK, MachineNeeds
from llmcli.runtime.runtime import Runtime

if TYPE_CHECKING:
    from llmcli.cli.console.environment import Environment
    from llmcli.cli.parsing.parameters import CommandParameter
    from llmcli.cli.provenance.provenance_recorder import ProvenanceRecorder
    from llmcli.config.backend_config import ServerConfig
    from llmcli.engine_library import EngineLibrary
    from llmcli.errors import LlmError, ModelNotDownloaded
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.runtime.run_config import ModelEvent
    from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.settings import parse_assignments
from llmcli.types import Phase, Progress


class CommandContext:
    """The context of a command; a context manager that closes the backend."""

    def __init__(
        self,
        flags: Flags,
        environment: Environment,
        interrupt: Interrupt,
        *,
        verb: str = "",
        needs: MachineNeeds = UNKNOWN_WORK,
        writes: Writes = Writes.TEXT,
        tolerant: bool = False,
    ) -> None:
        """``verb`` is the command's name, and what it ``writes``; ``needs`` and ``tolerant`` are as in ``Runtime``."""
        self.flags = flags
        self.verb = verb
        self.writes = writes
        self.provenance: ProvenanceRecorder | None = None
        """Records what the output is made of, if that is wanted."""
        self.console = Console(environment, interrupt, as_json=flags.json, quiet=flags.quiet, verbose=flags.verbose)
        self._needs = needs
        self._tolerant = tolerant
        self.runtime = self._build_runtime(flags, interrupt)
        for name in parse_assignments(flags.assignments or ()):
            self.console.explain(
                f"setting {name}: {self.runtime.settings[name]} ({self.runtime.settings.origin(name)})"
            )
        self._exit_stack = ExitStack()

    def use_model(self, name: str) -> None:
        """Let another model answer from now on; the time limit of the run stays.

        Raises what ``Runtime.backend`` and the model's load raise; the earlier model stays in use then.
        """
        flags, interrupt = fast_dataclass.replace(self.flags, model=name), self.runtime.interrupt
        deadline = interrupt.deadline
        runtime = self._build_runtime(flags, interrupt)
        try:
            runtime.backend().info()
        except BaseException:  # also an interrupt: the new model is closed, and the error goes on to the caller
            runtime.close()
            raise
        finally:
            interrupt.deadline = deadline
        self.runtime.close()
        self.runtime, self.flags = runtime, flags

    def use_default_settings(self, **settings: Any) -> None:
        """Use these settings where the command line gives none; call it before the backend is built.

        Raises what ``Runtime`` raises.
        """
        given = flag_settings(self.flags)
        missing = {name: value for name, value in settings.items() if given.get(name, ("", None))[1] is None}
        options = {name: missing.pop(name) for name in [*missing] if hasattr(self.flags, name)}
        assignments = [*(f"{name}={value}" for name, value in missing.items()), *(self.flags.assignments or ())]
        self.flags = fast_dataclass.replace(self.flags, assignments=assignments, **options)
        self.runtime.close()
        self.runtime = self._build_runtime(self.flags, self.runtime.interrupt)

    def _build_runtime(self, flags: Flags, interrupt: Interrupt) -> Runtime:
        return Runtime(
            flag_settings(flags),
            self.console.environment.environ,
            interrupt,
            TerminalObserver(self.console),
            verb=self.verb,
            needs=self._needs,
            consents=flags.yes,
            tolerant=self._tolerant,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.console.status_line.close()
        self.runtime.close()
        self._exit_stack.close()

    def record_provenance(self, parameters: Sequence[CommandParameter], values: Mapping[str, Any]) -> None:
        """Record from now on what the output is made of; ``values``: those of the command's own parameters.

        With ``--deterministic``, the seed is 0 unless the user gave one, so that the run can be repeated. Raises as
        ``load_or_create_key``.
        """
        from llmcli.cli.provenance.provenance_recorder import ProvenanceRecorder, RecordedRun
        from llmcli.provenance.digest_key import load_or_create_key

        settings = self.runtime.settings
        required = settings.origin("provenance").startswith("--")
        if not (required or self.flags.output or self.flags.json or values.get("update")):
            return  # the setting alone: there is no place for a statement
        if settings["deterministic"] and self.flags.seed is None:
            self.flags = fast_dataclass.replace(self.flags, seed=0)
        typed = {option.name: getattr(self.flags, option.name) for option in shared_options(type(self.flags))}
        key = load_or_create_key(self.runtime.paths.digest_key)
        command = command_path(self.console.environment.argv)
        run = RecordedRun(command, parameters, {**typed, **values}, key, required)
        self.provenance = ProvenanceRecorder(run, self.runtime.interrupt)

    def on_exit(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the command has ended and its backend is closed."""
        self._exit_stack.callback(function)

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Return the user's options for an answer, with a command's own ``changes``."""
        from llmcli.tasks.runner.task_requests import GenerationOptions

        names = {field.name for field in fast_dataclass.fields(GenerationOptions)}
        typed = {name: getattr(self.flags, name) for name in names if hasattr(self.flags, name)}
        settings = self.runtime.settings
        chosen = {name: None if settings[name] == "auto" else settings[name] for name in names & {*settings.values}}
        options = GenerationOptions(
            **{**typed, **chosen},
            deadline=self.runtime.interrupt.deadline,
            progress=self.console.status_line.enabled,
            shows_deltas=not self.console.as_json,
        )
        if self.writes is not Writes.TEXT:  # the seed is that of --sample
            changes["seed"] = None
        return fast_dataclass.replace(options, **changes)


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
