"""One run of one command: the options as typed, the console, and the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmcli import fast_dataclass
from llmcli.cli.command_registry import machine_needs_of
from llmcli.cli.console.console import Console
from llmcli.cli.flags import Flags, GivesSetting, SharedOption, flag_settings, shared_options
from llmcli.cli.terminal_observer import TerminalObserver
from llmcli.interrupt import Interrupt
from llmcli.runtime.runtime import Runtime

if TYPE_CHECKING:
    from llmcli.cli.console.environment import Environment
    from llmcli.cli.parsing.parameters import CommandParameter
    from llmcli.cli.provenance.provenance_recorder import ProvenanceRecorder
    from llmcli.tasks.runner.task_requests import GenerationOptions


class CommandContext:
    """The context of a command; a context manager that closes the backend."""

    def __init__(
        self, flags: Flags, environment: Environment, interrupt: Interrupt, *, verb: str = "", tolerant: bool = False
    ) -> None:
        """``verb`` is the command's name; ``tolerant`` is as in ``Runtime``."""
        self.flags = flags
        self.verb = verb
        self.provenance: ProvenanceRecorder | None = None
        """Records what the output is made of, if that is wanted."""
        self.console = Console(environment, interrupt, as_json=flags.json, quiet=flags.quiet, verbose=flags.verbose)
        self._tolerant = tolerant
        self.runtime = self._build_runtime(flags, interrupt)
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

    def use_default_flags(self, **flags: Any) -> None:
        """Use these flags where the command line has none; call it before the backend is built.

        Raises what ``Runtime`` raises.
        """
        missing = {name: value for name, value in flags.items() if not getattr(self.flags, name)}
        self.flags = fast_dataclass.replace(self.flags, **missing)
        self.runtime.close()
        self.runtime = self._build_runtime(self.flags, self.runtime.interrupt)

    def _build_runtime(self, flags: Flags, interrupt: Interrupt) -> Runtime:
        return Runtime(
            flag_settings(flags),
            self.console.environment.environ,
            interrupt,
            TerminalObserver(self.console),
            verb=self.verb,
            needs=machine_needs_of(self.verb),
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
        run = RecordedRun(self.verb, parameters, {**typed, **values}, key, required)
        self.provenance = ProvenanceRecorder(run, self.runtime.interrupt)

    def on_exit(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the command has ended and its backend is closed."""
        self._exit_stack.callback(function)

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Return the user's options for an answer, with a command's own ``changes``."""
        from llmcli.tasks.runner.task_requests import GenerationOptions

        names = {field.name for field in fast_dataclass.fields(GenerationOptions)}
        typed = {
            option.name: self._read_option(option)
            for option in shared_options(type(self.flags))
            if option.name in names
        }
        options = GenerationOptions(
            **typed, deadline=self.runtime.interrupt.deadline, progress=self.console.status_line.enabled
        )
        return fast_dataclass.replace(options, **changes)

    def _read_option(self, option: SharedOption) -> Any:
        """Return the value of an option, from the settings if it is one; None for "auto"."""
        if any(isinstance(mark, GivesSetting) for mark in option.marks):
            value = self.runtime.settings[option.name]
            return None if value == "auto" else value
        return getattr(self.flags, option.name)
