"""The one output sink: what a task yields becomes bytes on stdout (or in a file), words on stderr, and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from typing import Any

from llmcli.cli import json_text, sanitize
from llmcli.cli.context import Context
from llmcli.cli.reporter import Reporter
from llmcli.cli.stats import JobTotals
from llmcli.cli.text import Ending, Sink, TextOut, goes_to_terminal, text_out
from llmcli.errors import InternalError, LlmError, OutputError, PartialError, Stopped, TimedOut
from llmcli.incomplete import AnswerCut
from llmcli.types import Delta, ItemFailed, Notice, Progress, Result, TaskEvent
from llmcli.values import frozen


@frozen
class How:
    """How a verb's results are shown.

    ``names`` of the inputs where there are several (each gets a header); ``ending`` of a text; ``markdown``: the text
    is prose that may be rendered on a terminal; ``row`` turns a result without text into its line. ``output`` is a file
    for the results beside the one of -o, put in place in the block of ``placing()``; ``silent``: without --json nothing
    of them is shown, -o or not.
    """

    names: tuple[str, ...] = ()
    ending: Ending = Ending.LINE
    markdown: bool = True
    row: Callable[[Result], str] | None = None
    output: str | None = None
    placing: Callable[[], AbstractContextManager[object]] = nullcontext
    silent: bool = False

    @property
    def several(self) -> bool:
        """Whether there is more than one input."""
        return len(self.names) > 1


ANSWER = How()
"""One generated text."""


def as_object(result: Result, *, named: bool) -> dict[str, Any]:
    """Return the JSON object of a result, by the pipe contract."""
    head = {"name": result.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")} if named else {}
    text = {} if result.text is None else {"text": result.text}
    return {
        **head,
        **text,
        **result.fields,
        "model": result.model,
        "prompt": result.prompt,
        "finish_reason": str(result.finish_reason),
        "usage": asdict(result.usage),
        "timings": asdict(result.timings),
        "warnings": list(result.warnings),
    }


class _Item:
    """What is known of one item: pieces that wait for their turn, and how it ended."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.streamed = False
        self.end: Result | ItemFailed | None = None


class Delivery:
    """Shows the events of one task: items in their order, each as soon as those before it have ended."""

    def __init__(self, cli: Context, sink: Sink, reporter: Reporter, how: How) -> None:
        self._cli = cli
        self._sink = sink
        self._reporter = reporter
        self._how = how
        self._items: dict[int, _Item] = {}
        self._current = 0
        self._on_terminal = goes_to_terminal(sink)
        self._open: TextOut | None = None
        self._headers = 0
        self.totals = JobTotals()
        self.incomplete: list[tuple[str, Exception]] = []
        self._failure: Exception | None = None  # the first one, or the one that ended the command

    def drain(self, events: Iterator[TaskEvent]) -> None:
        """Show all events. An error that ends the task after something was delivered is one failure among results."""
        try:
            for event in events:
                self.take(event)
        except (Stopped, TimedOut, OutputError):
            raise
        except LlmError as error:
            if not self.totals.count:
                raise
            self.abandon()
            self._note(error)
            self._reporter.error(error, "")

    def take(self, event: TaskEvent) -> None:
        """Show one event, or keep it until its turn."""
        match event:
            case Progress():
                self._reporter.progress(event)
            case Notice():
                self._reporter.notice(event.text)
            case Delta(reasoning=True):
                if event.item == self._current:
                    self._reporter.reasoning(event.text)
            case Delta():
                self._items.setdefault(event.item, _Item()).pieces.append(event.text)
                if event.item == self._current:
                    self._advance()
            case Result() | ItemFailed():
                self._items.setdefault(event.item, _Item()).end = event
                self._advance()

    def _advance(self) -> None:
        while (item := self._items.get(self._current)) is not None:
            pieces, item.pieces = "".join(item.pieces), []
            if pieces and not self._cli.flags.json and not self._how.silent and self._how.row is None:
                item.streamed = True
                self._text().feed(pieces)
            if item.end is None:
                return
            if isinstance(item.end, ItemFailed):
                self._fail(item.end)
            else:
                self._end(item.end, streamed=item.streamed)
            del self._items[self._current]
            self._current += 1

    def _text(self) -> TextOut:
        """Return the text of the current item, begun with its header where there are several."""
        if self._open is None:
            self._reporter.result_comes()
            self._header()
            self._open = text_out(self._cli, self._sink, ending=self._how.ending, markdown=self._how.markdown)
        return self._open

    def _header(self) -> None:
        """Write ``==> NAME <==`` as head(1) does."""
        if not self._how.several:
            return
        name = self._how.names[self._current]
        if self._on_terminal:
            name = sanitize.line(name)
        before = "\n" if self._headers else ""
        self._headers += 1
        self._sink.write(f"{before}==> {name} <==\n".encode("utf-8", "surrogateescape"))

    def _fail(self, end: ItemFailed) -> None:
        self.abandon()
        self._note(end.error)
        self._reporter.error(end.error, end.name)

    def _note(self, failure: Exception) -> None:
        ends = isinstance(failure, TimedOut | Stopped) and not isinstance(self._failure, TimedOut | Stopped)
        if self._failure is None or ends:
            self._failure = failure

    def _end(self, end: Result, *, streamed: bool) -> None:
        self.totals.add(end)
        if end.cut:
            self.incomplete.append((end.name if self._how.several else "", end.incomplete or AnswerCut()))
        if self._cli.flags.json:
            self._line(json_text.dumps(as_object(end, named=self._how.several)))
        elif self._how.row is not None:
            row = self._how.row(end)
            self._line(sanitize.clean(row) if self._on_terminal else row)
        elif not self._how.silent:
            text = self._text()
            if end.text and not streamed:
                text.feed(end.text)
            text.finish()
            self._open = None
            if self._how.ending is Ending.LINE:
                self._reporter.result_ended()

    def _line(self, line: str) -> None:
        self._reporter.result_comes()
        self._sink.write((line + "\n").encode("utf-8", "replace"))
        self._reporter.result_ended()

    def abandon(self) -> None:
        """Leave a text that did not end; a terminal is left at the start of a line."""
        if self._open is not None:
            self._open.abandon()
            self._open = None

    def check(self) -> None:
        """Raise when everything failed."""
        if self._failure is not None and not self.totals.count:
            raise _NothingDelivered

    @property
    def code(self) -> int:
        """The exit code: 3 when something was delivered and something failed, or a result is not whole."""
        if isinstance(self._failure, TimedOut | Stopped):
            return self._failure.exit_code
        if self.incomplete or (self._failure is not None and self.totals.count):
            return PartialError.exit_code
        if self._failure is not None:
            return self._failure.exit_code if isinstance(self._failure, LlmError) else InternalError.exit_code
        return 0


class _NothingDelivered(Exception):
    """Leaves the block of ``-o`` by an exception, so that the file stays untouched."""


def deliver(cli: Context, task: Callable[[], Iterator[TaskEvent]], how: How = ANSWER) -> int:
    """Open the output, run the task, show its events; returns the exit code.

    The output is opened first, so that a path that cannot be written is found before the model is loaded. The file of
    ``-o`` stays untouched unless something was delivered.
    """
    reporter = Reporter(cli)
    try:
        with ExitStack() as stack:
            sink = _open_sink(cli, stack, how)
            delivery = Delivery(cli, sink, reporter, how)
            stack.callback(delivery.abandon)
            reporter.begin()
            events = task()
            delivery.totals.start()
            stack.callback(getattr(events, "close", lambda: None))
            delivery.drain(events)
            delivery.check()
    except _NothingDelivered:
        pass
    finally:
        reporter.close()
    reporter.work(delivery.totals)
    reporter.outcome(delivery.code, delivery.incomplete)
    return delivery.code


def _open_sink(cli: Context, stack: ExitStack, how: How) -> Sink:
    output = None if how.silent else how.output or cli.flags.output
    if output is None:
        return stack.enter_context(cli.stdout())
    from llmcli.documents.writing import atomic_write

    file = stack.enter_context(atomic_write(output, interrupt=cli.interrupt, placing=how.placing))
    return stack.enter_context(cli.writer(file.fd, output)) if file.direct else file
