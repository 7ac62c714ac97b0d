"""The output sink: what a task yields becomes bytes on stdout (or in a file), messages on stderr, and an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.text_writer import ByteSink, PlainTextWriter, TextEnding, TextWriter, writes_to_terminal
from llmcli.cli.reporter import Reporter
from llmcli.errors import (
    InternalError,
    LlmError,
    OutputError,
    PartialError,
    ProcessStopped,
    TemporaryFailure,
    TimedOut,
)
from llmcli.fast_dataclass import frozen
from llmcli.tasks.runner.answers import UsageTally, aggregate_tokens_per_s
from llmcli.types import BackendStats, Delta, ItemFailed, Notice, Progress, Result, TaskEvent, Timings, Usage

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.records.record_output import RecordOutput
    from llmcli.runtime.runtime import Runtime


@frozen
class DisplayOptions:
    """How a verb's results are shown.

    ``input_names``: the names of the inputs; several inputs get a header each. ``ending``: how a text ends.
    ``markdown``: the text is prose that may be rendered on a terminal. ``format_row`` formats a result without text as
    a line, or returns None for no line. ``records`` writes the results that are about records. ``output`` is a file for
    the results other than that of -o; it is renamed to its final name inside the context manager ``replace_guard()``.
    ``silent``: results are shown only with --json. ``footer`` returns lines that stand below a result's text, or in the
    place of one that has none; "" for no lines. ``suits_small_models``: models of less than half a billion parameters
    do this work well. ``encoding``: that of a text in a file or a pipe. ``keeps_ends``: the ``RenderReport`` has how
    each input ended, which then stays in memory.
    """

    input_names: tuple[str, ...] = ()
    ending: TextEnding = TextEnding.LINE
    markdown: bool = True
    format_row: Callable[[Result], str | None] | None = None
    records: RecordOutput | None = None
    output: str | None = None
    replace_guard: Callable[[], AbstractContextManager[object]] = nullcontext
    silent: bool = False
    footer: Callable[[Result], str] | None = None
    suits_small_models: bool = False
    encoding: str = "utf-8"
    keeps_ends: bool = False

    @property
    def has_several_inputs(self) -> bool:
        """Whether there is more than one input."""
        return len(self.input_names) > 1


ONE_ANSWER = DisplayOptions()
"""One generated text."""


@frozen
class RenderReport:
    """What came of a task that was shown: the exit code of the command, and how its inputs ended.

    ``ends`` are in the order in which the inputs ended, and empty unless ``DisplayOptions.keeps_ends``.
    """

    exit_code: int
    ends: Sequence[Result | ItemFailed] = ()

    @property
    def results(self) -> list[Result]:
        """The ends that are results."""
        return [end for end in self.ends if isinstance(end, Result)]


@frozen
class _AnnouncedSink:
    """A sink that announces each piece: what is written to a pipe may appear on the terminal of the status line."""

    sink: ByteSink
    reporter: Reporter

    def write(self, data: bytes) -> None:
        self.reporter.begin_result()
        self.sink.write(data)


@frozen
class _EncodingSink:
    """A sink for UTF-8 that writes another encoding."""

    sink: ByteSink
    encoding: str

    def write(self, data: bytes) -> None:
        self.sink.write(data.decode("utf-8").encode(self.encoding))


class _ResultRenderer:
    """Shows the events of one task: items in their order, each as soon as those before it have ended."""

    def __init__(self, ctx: CommandContext, sink: ByteSink, reporter: Reporter, options: DisplayOptions) -> None:
        self._ctx = ctx
        self._sink = sink if writes_to_terminal(sink) else _AnnouncedSink(sink, reporter)
        self._reporter = reporter
        self._options = options
        self._order = ItemOrder()
        self._streamed = False  # text of the current item was written before its result arrived
        self._num_shown = 0  # characters of that text
        self._on_terminal = writes_to_terminal(sink)
        self._text_writer: TextWriter | None = None
        self._headers_written = 0
        self.totals = JobTotals()
        self._delivered = False  # a result that is not blank
        self.incomplete: list[tuple[str, Exception]] = []
        self.ends: list[Result | ItemFailed] = []
        self._any_incomplete = False  # a record's result
        self._failure: Exception | None = None  # the first one, or the one that ended the command
        self.ended_early = False
        """Whether an error has ended the task after something was delivered."""

    def render_events(self, events: Iterator[TaskEvent]) -> None:
        """Show all events. An error that ends the task after something was delivered is one failure among results."""
        try:
            for event in events:
                self.render_event(event)
        except _FirstFailure:
            self.ended_early = True
        except (ProcessStopped, TimedOut, OutputError):
            raise
        except LlmError as error:
            from llmcli.errors.saved_state_errors import RetryRefused

            if not self._delivered or isinstance(error, RetryRefused):
                raise
            self.ended_early = True
            self.abandon()
            self._record_failure(error)
            self._reporter.report_error(error, "")

    def render_event(self, event: TaskEvent) -> None:
        """Show one event, or buffer it until all items before its own have ended."""
        match event:
            case Progress():
                self._reporter.show_progress(event)
            case Notice():
                self._reporter.warn(event.text)
            case Delta(reasoning=True):
                if event.item == self._order.current:
                    self._reporter.show_reasoning(event.text)
            case Delta() | Result() | ItemFailed():
                if self._options.keeps_ends and not isinstance(event, Delta):
                    self.ends.append(event)
                for ready in self._order.add(event):
                    self._render_ready(ready)

    def _render_ready(self, ready: str | Result | ItemFailed) -> None:
        """Show text of the current item, or how the item ended."""
        if isinstance(ready, str):
            if self._streams_text:
                self._streamed = True
                self._num_shown += len(ready)
                self._open_text().feed(ready)
            return
        streamed, self._streamed = self._streamed, False
        num_shown, self._num_shown = self._num_shown, 0
        if isinstance(ready, ItemFailed):
            if isinstance(ready.error, TemporaryFailure):
                ready.error.num_shown = num_shown
            self._render_failure(ready)
        else:
            self._render_result(ready, streamed=streamed)

    @property
    def _streams_text(self) -> bool:
        """Whether text is shown as it arrives."""
        return not (self._ctx.console.as_json or self._options.silent or self._options.format_row is not None)

    def _open_text(self) -> TextWriter:
        """Return the writer of the current item, after its header if there are several items."""
        if self._text_writer is None:
            self._reporter.begin_result()
            self._write_header()
            self._text_writer = open_text_writer(
                self._ctx, self._sink, ending=self._options.ending, markdown=self._options.markdown
            )
        return self._text_writer

    def _write_header(self) -> None:
        """Write ``==> NAME <==`` as head(1) does."""
        if not self._options.has_several_inputs:
            return
        from llmcli.cli.console.file_names import show_name

        name = show_name(self._options.input_names[self._order.current])
        before = "\n" if self._headers_written else ""
        self._headers_written += 1
        self._sink.write(f"{before}==> {name} <==\n".encode())

    def _render_failure(self, end: ItemFailed) -> None:
        self.abandon()
        self._record_failure(end.error)
        records = self._options.records
        if records is None or end.record is None:
            self._reporter.report_error(end.error, end.name)
            return
        if not records.fails_at_first_error:
            self._reporter.begin_result()
            records.write_failure(end)
            self._reporter.end_result()
        self._reporter.report_error(end.error, end.name)
        if records.fails_at_first_error:
            raise _FirstFailure

    def _record_failure(self, failure: Exception) -> None:
        if self._ctx.provenance is not None:
            self._ctx.provenance.tally.failed += 1
        if self._failure is None or (_ends_job(failure) and not _ends_job(self._failure)):
            self._failure = failure

    def _render_record(self, end: Result, records: RecordOutput) -> None:
        """Write the row of a record.

        Reasons why results are incomplete are reported at once, since they may be many.
        """
        self._reporter.begin_result()
        problem = records.write_result(end)
        self._reporter.end_result()
        if problem is not None:
            self._record_failure(problem)
            self._reporter.report_error(problem, end.name)
            if records.fails_at_first_error:
                raise _FirstFailure
        if end.cut:
            from llmcli.errors.incomplete_results import AnswerTruncated

            self._any_incomplete = True
            self._reporter.report_error(end.incomplete or AnswerTruncated(), end.name)

    def _render_result(self, end: Result, *, streamed: bool) -> None:
        self.totals.add(end)
        if self._ctx.provenance is not None:
            self._ctx.provenance.tally.add(end)
        self._delivered = self._delivered or not end.blank
        if self._options.records is not None and end.record is not None:
            self._render_record(end, self._options.records)
            return
        if end.cut:
            from llmcli.errors.incomplete_results import AnswerTruncated

            self.incomplete.append(
                (end.name if self._options.has_several_inputs else "", end.incomplete or AnswerTruncated())
            )
        if self._ctx.console.as_json:
            self._write_line(self._format_json(end))
        elif self._options.format_row is not None:
            row = self._options.format_row(end)
            if row is not None:
                self._write_line(self._sanitize(row))
        elif not self._options.silent:
            footer = "" if self._options.footer is None else self._options.footer(end)
            if end.text is not None or not footer:
                self._render_text(end, streamed=streamed)
            if footer:
                self._write_line(self._sanitize(footer))

    def _sanitize(self, line: str) -> str:
        """Return a line as it is shown: on a terminal without control sequences."""
        if not self._on_terminal:
            return line
        from llmcli.cli.console.sanitize import strip_controls

        return strip_controls(line)

    def _format_json(self, end: Result) -> str:
        from llmcli.cli.console import json_text
        from llmcli.cli.console.json_text import result_as_object

        shown = result_as_object(end, self._ctx.runtime, named=self._options.has_several_inputs)
        recorder = self._ctx.provenance
        if recorder is not None and recorder.in_json:
            shown |= {"provenance": recorder.describe_result(self._ctx.runtime, end, shown)}
        return json_text.dumps(shown)

    def _render_text(self, end: Result, *, streamed: bool) -> None:
        if end.data is not None:
            self._reporter.begin_result()
            self._sink.write(end.data)
            return
        text = self._open_text()
        if end.text and not streamed:
            text.feed(end.text)
        text.finish()
        self._text_writer = None
        if self._options.ending is TextEnding.LINE:
            self._reporter.end_result()

    def _write_line(self, line: str) -> None:
        self._reporter.begin_result()
        self._sink.write((line + "\n").encode("utf-8", "replace"))
        self._reporter.end_result()

    def abandon(self) -> None:
        """Abandon an unfinished text; leave a terminal at the start of a line."""
        if self._text_writer is not None:
            self._text_writer.abandon()
            self._text_writer = None

    def report_earlier_failures(self) -> None:
        """Report the records of a job that failed in earlier runs, once no more of them are to come."""
        records = self._options.records
        if records is not None and records.earlier_failures is not None and not self.ended_early:
            self._record_failure(records.earlier_failures)
            self._reporter.report_error(records.earlier_failures, "")

    def raise_if_nothing_delivered(self) -> None:
        """Raise when everything failed."""
        if self._options.records is not None:
            self._delivered = self._delivered or self._options.records.delivered_before
        if self._failure is not None and not self._delivered:
            if self._options.records is not None:
                self._options.records.discard()
            raise _NothingDelivered

    @property
    def exit_code(self) -> int:
        """The exit code: 3 if something was delivered and something failed, or a result is incomplete."""
        if isinstance(self._failure, LlmError) and _ends_job(self._failure):
            return self._failure.exit_code
        if self.incomplete or self._any_incomplete or (self._failure is not None and self._delivered):
            return PartialError.exit_code
        if self._failure is not None:
            return self._failure.exit_code if isinstance(self._failure, LlmError) else InternalError.exit_code
        return 0


def _ends_job(error: Exception) -> bool:
    """Whether an error is the exit code, whatever was delivered or failed before."""
    return isinstance(error, TimedOut | ProcessStopped) or (isinstance(error, LlmError) and error.ends_job)


class _FirstFailure(Exception):
    """Ends a job of records at its first failure, which was reported."""


class _NothingDelivered(Exception):
    """Leaves the block of ``-o`` with an exception, so that the file stays unchanged."""


def render_task(
    ctx: CommandContext, task: Callable[[Backend], Iterator[TaskEvent]], options: DisplayOptions = ONE_ANSWER
) -> RenderReport:
    """Open the output, build the backend, run ``task`` on it and show what it yields."""
    return render_events(ctx, lambda: task(ctx.runtime.backend()), options)


def _advise_on_context(runtime: Runtime, error: Exception) -> str:
    from llmcli.cli.render.context_advice import advise_on_context

    return advise_on_context(runtime, error)


def render_events(
    ctx: CommandContext, make_events: Callable[[], Iterator[TaskEvent]], options: DisplayOptions = ONE_ANSWER
) -> RenderReport:
    """Open the output, make the events, show them.

    The output is opened first, so that a path that cannot be written is found before the model is loaded. The file of
    ``-o`` stays unchanged unless something was delivered.
    """
    runtime = ctx.runtime
    reporter = Reporter(
        ctx.console,
        shows_reasoning=ctx.flags.reasoning,
        writes_file=ctx.flags.output is not None,
        advise=partial(_advise_on_context, runtime),
    )
    output = options.output or ctx.flags.output
    if ctx.provenance is not None:
        ctx.provenance.choose_place(output, as_json=ctx.console.as_json and options.records is None)
    try:
        with ExitStack() as stack:
            sink = _open_sink(ctx, stack, options)
            delivery = _ResultRenderer(ctx, sink, reporter, options)
            stack.callback(delivery.abandon)
            reporter.begin(runtime.responder_name)
            before = runtime.backend_stats() if ctx.flags.stats else BackendStats()
            events = make_events()
            delivery.totals.start()
            stack.callback(getattr(events, "close", lambda: None))
            delivery.render_events(events)
            delivery.report_earlier_failures()
            delivery.raise_if_nothing_delivered()
            if options.records is not None:
                delivery.totals.add_earlier(*options.records.earlier_work)
                options.records.complete(ended_early=delivery.ended_early)
            if ctx.provenance is not None and output is not None and not (options.records and delivery.ended_early):
                ctx.provenance.add_output(output, *(() if options.records is None else (options.records.earlier_work,)))
    except _NothingDelivered:  # the report below says why
        pass
    finally:
        reporter.close()
    _report_work(ctx, reporter, delivery.totals, before)
    reporter.report_outcome(delivery.exit_code, delivery.incomplete)
    if ctx.console.stderr_is_terminal and delivery.totals.usage.prompt_tokens and not options.suits_small_models:
        from llmcli.cli.small_model_notice import write_small_model_notice

        write_small_model_notice(ctx)
    return RenderReport(delivery.exit_code, delivery.ends)


def _report_work(ctx: CommandContext, reporter: Reporter, totals: JobTotals, before: BackendStats) -> None:
    """Report the backend's choices (``-v``) and the job's statistics (``--stats``): an object with ``--json``.

    ``before``: the work of earlier jobs on the same backend.
    """
    if ctx.console.verbose:
        ctx.console.explain_once(ctx.runtime.backend_stats().choices)
    if ctx.flags.stats and totals.count:
        from llmcli.cli.render.stats import collect_stats

        work = ctx.runtime.backend_stats()
        currency, adapters = ctx.runtime.currency, ctx.runtime.adapters
        taken = collect_stats(totals.usage, totals.timings, work, before=before, currency=currency, adapters=adapters)
        reporter.write_stats(taken.to_json() if ctx.console.as_json else taken.format_line())


def _open_sink(ctx: CommandContext, stack: ExitStack, options: DisplayOptions) -> ByteSink:
    if options.records is not None:
        return options.records.open(stack)
    output = None if options.silent else options.output or ctx.flags.output
    if output is None:
        stdout = stack.enter_context(ctx.console.open_stdout())
        return stdout if writes_to_terminal(stdout) else _encode_for(ctx, stdout, options)
    return _encode_for(ctx, stack.enter_context(ctx.console.open_file(output, options.replace_guard)), options)


def _encode_for(ctx: CommandContext, sink: ByteSink, options: DisplayOptions) -> ByteSink:
    return sink if options.encoding == "utf-8" or ctx.console.as_json else _EncodingSink(sink, options.encoding)


class JobTotals(UsageTally):
    """The totals of a job's results."""

    def start(self) -> None:
        """Start the clock."""
        self._started_at = time.monotonic()

    def add_earlier(self, usage: Usage, seconds: float, results: int) -> None:
        """Add what earlier runs of the same job took."""
        self.usage += usage
        self.count += results
        self.last = Timings(None, seconds, aggregate_tokens_per_s(usage, seconds))
        self._started_at -= seconds


class _PendingItem:
    """The state of one item: text received before it can be shown, and its outcome."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.outcome: Result | ItemFailed | None = None


class ItemOrder:
    """Releases texts and outcomes in the order of their items; ``current`` is the item that is shown."""

    def __init__(self) -> None:
        self._pending: dict[int, _PendingItem] = {}
        self.current = 0

    def add(self, event: Delta | Result | ItemFailed) -> Iterator[str | Result | ItemFailed]:
        """Add an event and yield what can be shown now: text of the current item, and outcomes.

        An item is current until its yielded outcome has been handled.
        """
        added = self._pending.setdefault(event.item, _PendingItem())
        if isinstance(event, Delta):
            added.pieces.append(event.text)
        else:
            added.outcome = event
        while (item := self._pending.get(self.current)) is not None:
            text, item.pieces = "".join(item.pieces), []
            if text:
                yield text
            if item.outcome is None:
                return
            yield item.outcome
            del self._pending[self.current]
            self.current += 1


def write_markdown(ctx: CommandContext, text: str) -> None:
    """Write a text to standard output, rendered on a terminal."""
    with ctx.console.open_stdout() as sink:
        out = open_text_writer(ctx, sink, ending=TextEnding.LINE, markdown=True)
        out.feed(text)
        out.finish()


def open_text_writer(ctx: CommandContext, sink: ByteSink, *, ending: TextEnding, markdown: bool) -> TextWriter:
    """Return the writer of one text to ``sink``.

    Markdown is rendered for a terminal or with FORCE_COLOR, but never with -o, ``--json``, TERM=dumb or the setting
    ``markdown: off``.
    """
    to_file = ctx.flags.output is not None
    terminal = writes_to_terminal(sink)
    capable = ctx.runtime.environ.get("TERM") != "dumb" if terminal else bool(ctx.runtime.environ.get("FORCE_COLOR"))
    if markdown and capable and not to_file and ctx.runtime.settings["markdown"] == "on":
        from llmcli.cli.render.terminal_markdown import MarkdownWriter

        return MarkdownWriter(ctx.console.environment, sink, terminal=terminal)
    return PlainTextWriter(sink, ending=ending, terminal=terminal)
