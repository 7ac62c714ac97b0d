"""One run of check: its inputs, its exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import format_source_name, reads_stdin
from llmcli.cli.render.estimate_table import write_estimates
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.documents.reading.document import STDIN, Document
from llmcli.errors import PartialError, UsageError
from llmcli.fast_dataclass import replace
from llmcli.tasks.check import check, estimate_check
from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.quotes.quotable_text import format_line_range
from llmcli.types import Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

NOT_SUPPORTED = 1
"""The exit code if a sentence falls below the threshold."""


def run_check(
    ctx: CommandContext,
    answer: str | None,
    against: Sequence[str],
    *,
    threshold: float,
    passages: int,
    dry_run: bool = False,
) -> int:
    """Check a text and return the exit code; 3 if sources could not be read, since a sentence may be in those.

    Raises ``UsageError`` if there is no text, and what a source raises that is named itself.
    """
    text = _read_answer(ctx, answer, against)
    sources, failed = source_inputs.read_evidence(ctx, against)
    for failure in failed:
        ctx.console.write_error(failure.error, name=failure.name)
    if dry_run:
        code = write_estimates(
            ctx,
            [text.name],
            lambda _: estimate_check(
                ctx.runtime.backend(), ctx.runtime.prompts, text, sources, ctx.generation_options(), passages=passages
            ),
        )
        return PartialError.exit_code if code == 0 and failed else code
    on_terminal = ctx.console.stdout_is_terminal and ctx.flags.output is None

    def task(backend: Backend) -> Iterator[TaskEvent]:
        options = ctx.generation_options()
        events = check(backend, ctx.runtime.prompts, text, sources, options, threshold=threshold, passages=passages)
        for event in source_inputs.add_unread_warnings(add_scoring_notices(events), failed):
            if isinstance(event, Result):
                shown = annotate_text(text, event) if on_terminal else format_lines(text.name, event)
                yield event if ctx.console.as_json else replace(event, text=shown)
            else:
                yield event

    report = render_task(ctx, task, DisplayOptions(markdown=on_terminal, keeps_ends=True))
    if report.exit_code:
        return report.exit_code
    if failed:
        return PartialError.exit_code
    return 0 if all(result.fields["passed"] for result in report.results) else NOT_SUPPORTED


def _read_answer(ctx: CommandContext, answer: str | None, against: Sequence[str]) -> Document:
    if answer is None and not reads_stdin(ctx, ()):
        raise UsageError("no text to check", detail="Try: llm check answer.md --against report.pdf")
    name = STDIN if answer is None else answer
    if name == STDIN and STDIN in against:
        raise UsageError("standard input can be read only once")
    return source_inputs.read_source_document(ctx, name)


_MAX_QUOTE_CHARACTERS = 160


def format_lines(name: str, result: Result) -> str:
    """Return a line for each sentence: ``NAME:LINE: SUPPORT PROBABILITY: SENTENCE``, then the quote after a tab."""
    shown = format_source_name(name)
    return "\n".join(
        f"{shown}:{sentence['first_line']}: {_verdict(sentence)}: {_one_line(sentence['text'])}\t{_evidence(sentence)}"
        for sentence in result.fields["sentences"]
    )


def annotate_text(document: Document, result: Result) -> str:
    """Return the text with a mark before each sentence below the threshold, and a list of these with their quotes."""
    threshold = result.fields["threshold"]
    weak = [sentence for sentence in result.fields["sentences"] if sentence["probability"] < threshold]
    parts, at = [], 0
    for number, sentence in enumerate(weak, 1):
        parts += [document.text[at : sentence["start"]], f"**[?{number}]** "]
        at = sentence["start"]
    total = len(result.fields["sentences"])
    head = f"Supported: {total - len(weak)} of {total} sentences (threshold {threshold:g})."
    notes = [f"- **?{number}** {_verdict(sentence)}. {_evidence(sentence)}" for number, sentence in enumerate(weak, 1)]
    return "\n\n".join(["".join([*parts, document.text[at:]]).rstrip(), "---", head, "\n".join(notes)]).rstrip()


def _verdict(sentence: Mapping[str, Any]) -> str:
    return f"{sentence['support']} {sentence['probability']:.2f}"


def _evidence(sentence: Mapping[str, Any]) -> str:
    quote = sentence["quote"]
    if quote is None:
        return "no passage has its words"
    text = _one_line(quote["text"])
    if len(text) > _MAX_QUOTE_CHARACTERS:
        text = text[:_MAX_QUOTE_CHARACTERS].rpartition(" ")[0] + " ..."
    lines = format_line_range(quote["first_line"], quote["last_line"])
    place = lines if quote["page"] is None else f"p. {quote['page']}"
    return f'{format_source_name(quote["source"])}, {place}: "{text}"'


def _one_line(text: str) -> str:
    return " ".join(text.split())
