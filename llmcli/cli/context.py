"""One run of one command: flags, settings, paths, prompts, the model, the backend."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmcli.errors import DamagedModel, LlmError, ModelNotHere
from llmcli.interrupt import Interrupt
from llmcli.settings import find_paths, resolve

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.options import Flags
    from llmcli.cli.output import How
    from llmcli.cli.progress import StatusLine
    from llmcli.cli.world import World, Writer
    from llmcli.models.library import Library as Models
    from llmcli.models.library import ModelFile
    from llmcli.models.offers import Offers
    from llmcli.tasks.base import Options
    from llmcli.templates import Library as Prompts
    from llmcli.types import Notice, Progress, TaskEvent, Work


class Context:
    """One run of one command; a context manager that closes the backend."""

    def __init__(
        self, flags: Flags, world: World, interrupt: Interrupt, *, verb: str = "", tolerant: bool = False
    ) -> None:
        """``verb`` is the command's name.

        ``tolerant``: a broken configuration becomes ``broken``, and the defaults hold; else it raises.
        """
        self.flags = flags
        self.verb = verb
        self.world = world
        self.interrupt = interrupt
        self.paths = find_paths(world.environ)
        self.broken: LlmError | None = None
        try:
            self.settings = resolve(self._given(), world.environ, self.paths.config_file)
        except LlmError as error:
            if not tolerant:
                raise
            self.broken = error
            self.settings = resolve(self._given(), {}, None)
        if self.settings["timeout"] is not None:
            interrupt.deadline = time.monotonic() + self.settings["timeout"]
        self._backend: Backend | None = None
        self._afterwards = ExitStack()
        self._explained: set[str] = set()
        self.answering = ""
        """The model or server that answers, by its name for people; "" before it is known."""

    def _given(self) -> dict[str, tuple[str, Any]]:
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
        self.status.close()
        if self._backend is not None:
            self._backend.close()
        self._afterwards.close()

    def afterwards(self, function: Callable[[], object]) -> None:
        """Have ``function`` called when the command is over and its backend closed."""
        self._afterwards.callback(function)

    @cached_property
    def status(self) -> StatusLine:
        """What is waited for, on the terminal."""
        from llmcli.cli.progress import StatusLine

        return StatusLine(self.world, self.interrupt, quiet=self.flags.quiet)

    @cached_property
    def prompts(self) -> Prompts:
        """The prompt files."""
        from llmcli.templates import Library

        return Library(self.paths.prompts, cache=self.paths.cache / "prompts")

    @cached_property
    def models(self) -> Models:
        """The models of this machine."""
        from llmcli.models.library import Library

        return Library(self.settings, self.paths, self.world.environ, verb=self.verb, warn=self.warn)

    def options(self, **changes: Any) -> Options:
        """Return what the user asked of an answer, with a verb's own ``changes``."""
        from llmcli.tasks.base import Options

        flags, longest = self.flags, self.settings["max_tokens"]
        options = Options(
            temperature=flags.temperature,
            seed=flags.seed,
            max_tokens=None if longest == "auto" else longest,
            deadline=self.interrupt.deadline,
            reasoning=flags.reasoning,
            progress=self.status.shown,
        )
        return dataclasses.replace(options, **changes)

    def model(self) -> ModelFile:
        """Return the model, found and verified; fetched first where the user said so, beforehand or when asked.

        Raises ``ModelNotHere``, ``DamagedModel`` and whatever fetching raises.
        """
        model = self._ready()
        named, origin = self.models.default()
        called = "" if named == model.name else f", called {named}"
        self._explain_once(f"model {model.name}{called} ({origin}), file {model.path}")
        if self.world.terminal(self.world.stderr):
            from llmcli.cli import base_models

            base_models.introduce(self, model)
        return model

    def _ready(self) -> ModelFile:
        from llmcli.types import Phase

        try:
            with self.status.waiting(Phase.CHECKING, self.flags.model or self.models.default()[0]):
                return self.models.ready(self.flags.model, self.interrupt)
        except DamagedModel as damaged:
            if not self.settings["pull"]:
                raise
            return self.pull(damaged.subject)
        except ModelNotHere as missing:
            from llmcli.cli import asking

            missing.context = self.flags.ctx
            if not (self.settings["pull"] or asking.fetch(self, missing)):
                raise
            return self.pull(missing.subject)

    def pull(self, name: str, *, force: bool = False) -> ModelFile:
        """Fetch a model, with a progress bar on a terminal; unless ``force`` only one that fits this machine."""
        from llmcli.cli import fitting

        wish = fitting.fitting(self, force=force, shown=fitting.wanted(self))
        return self.last(self.models.pull(name, self.interrupt, fitting=wish))

    def last(self, events: Iterator[Progress | Notice | Offers | ModelFile]) -> ModelFile:
        """Show what happens to a model, with a progress bar on a terminal, and return it: the last item."""
        from llmcli.cli import fitting
        from llmcli.cli.reporter import Reporter
        from llmcli.models.library import ModelFile
        from llmcli.types import Notice, Progress

        reporter = Reporter(self)
        try:
            reporter.begin()
            for event in events:
                if isinstance(event, Progress):
                    reporter.progress(event)
                elif isinstance(event, Notice):
                    reporter.notice(event.text)
                elif isinstance(event, ModelFile):
                    model = event
                else:
                    fitting.show(self, event)
        finally:
            reporter.close()
        return model

    def backend(self) -> Backend:
        """Return the backend, built at the first call: everything that can be refused was checked before."""
        if self._backend is None:
            from llmcli.cli import wiring

            if wiring.elsewhere(self):
                self._backend = wiring.build_remote(self)
            else:
                self._backend = wiring.build_backend(self, self.model())
        return self._backend

    def work(self) -> Work:
        """Return how the backend worked so far; nothing is known of one that was not built."""
        from llmcli.types import Work

        return Work() if self._backend is None else self._backend.work()

    def show(self, task: Callable[[Backend], Iterator[TaskEvent]], how: How | None = None) -> int:
        """Open the output, build the backend, run ``task`` on it and show what it yields; returns the exit code."""
        from llmcli.cli.output import ANSWER, deliver

        return deliver(self, lambda: task(self.backend()), how or ANSWER)

    def warn(self, text: str) -> None:
        """Say on stderr at once what concerns more than this command, unless ``-q``: a line, with ``--json`` an object."""
        if not self.flags.quiet:
            import json

            from llmcli.cli import sanitize, wording

            line = json.dumps({"warning": text}) if self.flags.json else f"llm: warning: {sanitize.line(text)}"
            wording.say(self.world, line)

    def explain(self, text: str) -> None:
        """Say on stderr what was chosen, with ``-v``: a line, with ``--json`` an object."""
        if self.flags.verbose:
            self.say(text)

    def say(self, text: str) -> None:
        """Say on stderr what somebody may like to know: a line, with ``--json`` an object."""
        import json

        from llmcli.cli import sanitize, wording

        line = json.dumps({"explanation": text}) if self.flags.json else f"llm: {sanitize.line(text)}"
        wording.say(self.world, line)

    def explain_work(self) -> None:
        """Say what the backend chose, and why, with ``-v``; each sentence once, though a chat comes here often."""
        if self.flags.verbose:
            for choice in self.work().choices:
                self._explain_once(choice)

    def _explain_once(self, text: str) -> None:
        if text not in self._explained:
            self._explained.add(text)
            self.explain(text)

    @contextmanager
    def writer(self, fd: int, name: str = "standard output") -> Iterator[Writer]:
        """Give the writer of ``fd``; off a terminal no line of it is mixed with one of another llm process."""
        from llmcli.cli.output_lock import OutputLock
        from llmcli.cli.world import Writer

        closed = fd == self.world.stdout and 1 in self.world.closed
        lock = None if closed or self.world.terminal(fd) else OutputLock(fd, self.world.environ)
        try:
            yield Writer(fd, self.interrupt, closed=closed, name=name, lock=lock)
        finally:
            if lock is not None:
                lock.close()

    def stdout(self) -> AbstractContextManager[Writer]:
        """Give the writer of standard output."""
        return self.writer(self.world.stdout)

    def write(self, text: str) -> None:
        """Write to stdout what is no result of a model, to a terminal without control sequences.

        Raises ``OutputError`` and ``ReaderGone``.
        """
        from llmcli.cli import sanitize

        text = sanitize.clean(text) if self.world.terminal(self.world.stdout) else text
        with self.world.others_write(), self.stdout() as writer:
            writer.write(text.encode("utf-8", "replace"))

    def prose(self, text: str) -> None:
        """Write sentences to stdout, each line of them wrapped at words where that is a terminal."""
        from llmcli.cli import sanitize, wrapping

        lines = text.splitlines()
        if self.world.terminal(self.world.stdout):
            columns = self.world.columns(self.world.stdout)
            folded = (wrapping.wrap(sanitize.line(line), columns, break_words=False) for line in lines)
            lines = [line for each in folded for line in each]
        self.write("".join(f"{line}\n" for line in lines))

    def table(self, rows: Sequence[Mapping[str, Any]], *, preview: str | None = None) -> None:
        """Write a list to stdout: columns on a terminal, tabs in a pipe, JSON lines with ``--json``.

        ``preview`` is as in ``table.render``.
        """
        from llmcli.cli.table import render

        terminal, columns = self.world.terminal(self.world.stdout), self.world.columns(self.world.stdout)
        self.write(render(rows, as_json=self.flags.json, terminal=terminal, columns=columns, preview=preview))

    def facts(self, pairs: Mapping[str, Any]) -> None:
        """Write names and values of one thing to stdout: a line each, or one JSON object."""
        from llmcli.cli.table import facts

        terminal, columns = self.world.terminal(self.world.stdout), self.world.columns(self.world.stdout)
        self.write(facts(pairs, as_json=self.flags.json, terminal=terminal, columns=columns))
