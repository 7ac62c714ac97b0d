"""One run of one command: flags, settings, paths, prompts, the model, the backend."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmcli.errors import DamagedModel, LlmError, ModelNotDownloaded
from llmcli.interrupt import Interrupt
from llmcli.settings import find_paths, resolve_settings

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.console.environment import DescriptorWriter, Environment
    from llmcli.cli.console.status_line import StatusLine
    from llmcli.cli.options import Flags
    from llmcli.cli.render.renderer import DisplayOptions
    from llmcli.models.hub.variants import VariantList
    from llmcli.models.library.model_library import ModelFile
    from llmcli.models.library.model_library import ModelLibrary as Models
    from llmcli.prompts import PromptLibrary as Prompts
    from llmcli.tasks.execution.task_requests import GenerationOptions
    from llmcli.types import BackendStats, Notice, Progress, TaskEvent


class CommandContext:
    """One run of one command; a context manager that closes the backend."""

    def __init__(
        self, flags: Flags, environment: Environment, interrupt: Interrupt, *, verb: str = "", tolerant: bool = False
    ) -> None:
        """``verb`` is the command's name.

        ``tolerant``: an invalid configuration is stored as ``config_error`` and the defaults apply; otherwise it raises.
        """
        self.flags = flags
        self.verb = verb
        self.environment = environment
        self.interrupt = interrupt
        self.paths = find_paths(environment.environ)
        self.config_error: LlmError | None = None
        try:
            self.settings = resolve_settings(self.flag_settings(), environment.environ, self.paths.config_file)
        except LlmError as error:
            if not tolerant:
                raise
            self.config_error = error
            self.settings = resolve_settings(self.flag_settings(), {}, None)
        if self.settings["timeout"] is not None:
            interrupt.deadline = time.monotonic() + self.settings["timeout"]
        self._backend: Backend | None = None
        self._exit_stack = ExitStack()
        self._already_explained: set[str] = set()
        self.responder_name = ""
        """The model or server that answers, by its name for people; "" before it is known."""

    def flag_settings(self) -> dict[str, tuple[str, Any]]:
        """Return the flags that are settings; the words of an option are its setting's, with dashes."""
        names = (
            "model",
            "backend",
            "base_url",
            "ctx",
            "max_tokens",
            "threads",
            "gpu_layers",
            "kv_type",
            "deterministic",
            "timeout",
        )
        given = {
            name: ("--" + name.replace("_", "-"), getattr(self.flags, name)) for name in (*names, "offline", "pull")
        }
        given["stdin"] = ("--no-stdin", "off" if self.flags.no_stdin else None)
        given["worker"] = ("--no-worker", "off" if self.flags.no_worker else None)
        return given

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status_line.close()
        if self._backend is not None:
            self._backend.close()
        self._exit_stack.close()

    def on_exit(self, function: Callable[[], object]) -> None:
        """Have ``function`` called when the command is over and its backend closed."""
        self._exit_stack.callback(function)

    @cached_property
    def status_line(self) -> StatusLine:
        """What is waited for, on the terminal."""
        from llmcli.cli.console.status_line import StatusLine

        return StatusLine(self.environment, self.interrupt, quiet=self.flags.quiet)

    @cached_property
    def prompts(self) -> Prompts:
        """The prompt files."""
        from llmcli.prompts import PromptLibrary

        return PromptLibrary(self.paths.prompts, cache=self.paths.cache / "prompts")

    @cached_property
    def models(self) -> Models:
        """The models of this machine."""
        from llmcli.models.library.model_library import ModelLibrary

        return ModelLibrary(self.settings, self.paths, self.environment.environ, verb=self.verb, warn=self.warn)

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Return what the user asked of an answer, with a verb's own ``changes``."""
        from llmcli.tasks.execution.task_requests import GenerationOptions

        flags, longest = self.flags, self.settings["max_tokens"]
        options = GenerationOptions(
            temperature=flags.temperature,
            seed=flags.seed,
            max_tokens=None if longest == "auto" else longest,
            deadline=self.interrupt.deadline,
            reasoning=flags.reasoning,
            progress=self.status_line.enabled,
        )
        return dataclasses.replace(options, **changes)

    def resolve_model(self) -> ModelFile:
        """Return the model, found and verified; fetched first where the user said so, beforehand or when asked.

        Raises ``ModelNotDownloaded``, ``DamagedModel`` and what the download raises.
        """
        model = self._find_verified_model()
        named, origin = self.models.default_model()
        called = "" if named == model.name else f", called {named}"
        self._explain_once(f"model {model.name}{called} ({origin}), file {model.path}")
        if self.environment.is_terminal(self.environment.stderr):
            from llmcli.cli.render import base_model_notice

            base_model_notice.explain_base_model_once(self, model)
        return model

    def _find_verified_model(self) -> ModelFile:
        from llmcli.types import Phase

        try:
            with self.status_line.waiting(Phase.CHECKING, self.flags.model or self.models.default_model()[0]):
                return self.models.ensure_verified(self.flags.model, self.interrupt)
        except DamagedModel as damaged:
            if not self.settings["pull"]:
                raise
            return self.pull_model(damaged.subject)
        except ModelNotDownloaded as missing:
            from llmcli.cli.console import confirm

            missing.context = self.flags.ctx
            if not (self.settings["pull"] or confirm.confirm_download(self, missing)):
                raise
            return self.pull_model(missing.subject)

    def pull_model(self, name: str, *, force: bool = False) -> ModelFile:
        """Fetch a model, with a progress bar on a terminal; unless ``force`` only one that fits this machine."""
        from llmcli.runtime import hardware_fit

        policy = hardware_fit.build_fit_policy(self, force=force, shown=hardware_fit.shows_variants(self))
        return self.consume_model_events(self.models.pull(name, self.interrupt, fit_policy=policy))

    def consume_model_events(self, events: Iterator[Progress | Notice | VariantList | ModelFile]) -> ModelFile:
        """Show what happens to a model, with a progress bar on a terminal, and return it: the last item."""
        from llmcli.cli.reporter import Reporter
        from llmcli.models.library.model_library import ModelFile
        from llmcli.runtime import hardware_fit
        from llmcli.types import Notice, Progress

        reporter = Reporter(self)
        try:
            reporter.begin()
            for event in events:
                if isinstance(event, Progress):
                    reporter.show_progress(event)
                elif isinstance(event, Notice):
                    reporter.warn(event.text)
                elif isinstance(event, ModelFile):
                    model = event
                else:
                    hardware_fit.show_variants(self, event)
        finally:
            reporter.close()
        return model

    def backend(self) -> Backend:
        """Return the backend, built at the first call: everything that can be refused was checked before."""
        if self._backend is None:
            from llmcli.runtime import backend_factory

            if backend_factory.is_remote(self):
                self._backend = backend_factory.build_remote(self)
            else:
                self._backend = backend_factory.build_backend(self, self.resolve_model())
        return self._backend

    def backend_stats(self) -> BackendStats:
        """Return how the backend worked so far; nothing is known of one that was not built."""
        from llmcli.types import BackendStats

        return BackendStats() if self._backend is None else self._backend.stats()

    def show(self, task: Callable[[Backend], Iterator[TaskEvent]], how: DisplayOptions | None = None) -> int:
        """Open the output, build the backend, run ``task`` on it and show what it yields; returns the exit code."""
        from llmcli.cli.render.renderer import ONE_ANSWER, render_task

        return render_task(self, lambda: task(self.backend()), how or ONE_ANSWER)

    def warn(self, text: str) -> None:
        """Say on stderr at once what concerns more than this command, unless ``-q``: a line, with ``--json`` an object."""
        if not self.flags.quiet:
            import json

            from llmcli.cli.console import error_messages, sanitize

            line = json.dumps({"warning": text}) if self.flags.json else f"llm: warning: {sanitize.single_line(text)}"
            error_messages.write_stderr(self.environment, line)

    def explain(self, text: str) -> None:
        """Say on stderr what was chosen, with ``-v``: a line, with ``--json`` an object."""
        if self.flags.verbose:
            self.write_explanation(text)

    def write_explanation(self, text: str) -> None:
        """Write an explanation to stderr: a line, with ``--json`` an object."""
        import json

        from llmcli.cli.console import error_messages, sanitize

        line = json.dumps({"explanation": text}) if self.flags.json else f"llm: {sanitize.single_line(text)}"
        error_messages.write_stderr(self.environment, line)

    def explain_backend_choices(self) -> None:
        """Say what the backend chose, and why, with ``-v``; each sentence once, though a chat comes here often."""
        if self.flags.verbose:
            for choice in self.backend_stats().choices:
                self._explain_once(choice)

    def _explain_once(self, text: str) -> None:
        if text not in self._already_explained:
            self._already_explained.add(text)
            self.explain(text)

    @contextmanager
    def open_writer(self, fd: int, name: str = "standard output") -> Iterator[DescriptorWriter]:
        """Give the writer of ``fd``; off a terminal no line of it is mixed with one of another llm process."""
        from llmcli.cli.console.environment import DescriptorWriter
        from llmcli.cli.console.output_lock import OutputLock

        closed = fd == self.environment.stdout and 1 in self.environment.closed_fds
        lock = None if closed or self.environment.is_terminal(fd) else OutputLock(fd, self.environment.environ)
        try:
            yield DescriptorWriter(fd, self.interrupt, closed=closed, name=name, lock=lock)
        finally:
            if lock is not None:
                lock.close()

    def open_stdout(self) -> AbstractContextManager[DescriptorWriter]:
        """Give the writer of standard output."""
        return self.open_writer(self.environment.stdout)

    def write_stdout(self, text: str) -> None:
        """Write to stdout what is no result of a model, to a terminal without control sequences.

        Raises ``OutputError`` and ``OutputPipeClosed``.
        """
        from llmcli.cli.console import sanitize

        text = sanitize.strip_controls(text) if self.environment.is_terminal(self.environment.stdout) else text
        with self.environment.suspend_painters(), self.open_stdout() as writer:
            writer.write(text.encode("utf-8", "replace"))

    def write_wrapped(self, text: str) -> None:
        """Write sentences to stdout, each line of them wrapped at words where that is a terminal."""
        from llmcli.cli.console import sanitize, wrapping

        lines = text.splitlines()
        if self.environment.is_terminal(self.environment.stdout):
            columns = self.environment.columns(self.environment.stdout)
            folded = (wrapping.wrap_words(sanitize.single_line(line), columns, break_words=False) for line in lines)
            lines = [line for each in folded for line in each]
        self.write_stdout("".join(f"{line}\n" for line in lines))

    def write_table(self, rows: Sequence[Mapping[str, Any]], *, preview: str | None = None) -> None:
        """Write a list to stdout: columns on a terminal, tabs in a pipe, JSON lines with ``--json``.

        ``preview`` is as in ``render_table``.
        """
        from llmcli.cli.console.table import render_table

        terminal, columns = (
            self.environment.is_terminal(self.environment.stdout),
            self.environment.columns(self.environment.stdout),
        )
        self.write_stdout(
            render_table(rows, as_json=self.flags.json, terminal=terminal, columns=columns, preview=preview)
        )

    def write_record(self, pairs: Mapping[str, Any]) -> None:
        """Write names and values of one thing to stdout: a line each, or one JSON object."""
        from llmcli.cli.console.table import render_record

        terminal, columns = (
            self.environment.is_terminal(self.environment.stdout),
            self.environment.columns(self.environment.stdout),
        )
        self.write_stdout(render_record(pairs, as_json=self.flags.json, terminal=terminal, columns=columns))
