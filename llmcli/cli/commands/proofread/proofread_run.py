"""One run of proofread: what is read, and the form of its findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import json_text
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import format_source_name
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.cli.render.sarif import file_uri, make_log
from llmcli.cli.render.text_writer import TextEnding
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace
from llmcli.tasks.proofread import DEFAULT_THRESHOLD_BITS, SuspiciousWord, proofread
from llmcli.types import ItemFailed, Notice, Result, TaskEvent, Usage

if TYPE_CHECKING:
    from llmcli.backends.base import Backend


def run_proofread(
    ctx: CommandContext, files: Sequence[str], *, top: int | None, threshold: float | None, sarif: bool
) -> int:
    """Show the suspicious words of documents; return the exit code. Raises ``UsageError`` for --sarif with --json."""
    if sarif and ctx.console.as_json:
        raise UsageError("--sarif and --json are two forms of output", detail="Leave out one of them.")
    if threshold is None:
        threshold = 0.0 if top is not None else DEFAULT_THRESHOLD_BITS
    wanted = SuspiciousWord(threshold, top)
    names, documents = source_inputs.read_streamed_sources(ctx, files)
    options = ctx.generation_options()

    shape = _one_log if sarif else _keep_fields if ctx.console.as_json else _as_lines
    display = (
        DisplayOptions(input_names=tuple(names))
        if ctx.console.as_json
        else DisplayOptions(markdown=False, ending=TextEnding.DOCUMENT)
    )

    def task(backend: Backend) -> Iterator[TaskEvent]:
        found = proofread(backend, documents, options, wanted)
        return shape(source_inputs.add_source_notes(found, documents))

    return render_task(ctx, task, display).exit_code


def _keep_fields(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    return events


def _as_lines(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Give each result its lines as text."""
    for event in events:
        yield replace(event, text=format_lines(event)) if isinstance(event, Result) else event


def _one_log(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Yield one result with the log of all documents, after those that failed."""
    results: list[Result] = []
    failed = 0
    for event in events:
        if isinstance(event, Result):
            results.append(event)
        elif isinstance(event, ItemFailed):
            yield replace(event, item=failed)
            failed += 1
        else:
            yield replace(event, item=failed) if isinstance(event, Notice) else event
    if results:
        usage = sum((each.usage for each in results), Usage())
        log = json_text.dumps(sarif_log(results), indent=2) + "\n"
        yield replace(results[0], item=failed, name="", text=log, usage=usage, blank=False)


RULE_ID = "suspicious-word"
_MAX_RANK = 100.0
"""SARIF ranks results from 0 to 100."""


def format_lines(result: Result) -> str:
    """Return a line for each word: ``FILE:LINE:COLUMN: WORD SCORE``, with `` -> SUGGESTION`` if there is one."""
    name = format_source_name(result.name)
    lines = []
    for word in result.fields["words"]:
        suggested = "" if word["suggestion"] is None else f" -> {word['suggestion']}"
        lines.append(f"{name}:{word['line']}:{word['column']}: {word['word']} {word['score']:.1f}{suggested}\n")
    return "".join(lines)


def sarif_log(results: Sequence[Result]) -> dict[str, Any]:
    """Return the words of documents as a SARIF log; the score is in the property ``bits``."""
    rule = {
        "id": RULE_ID,
        "name": "SuspiciousWord",
        "shortDescription": {"text": "A word that surprises a language model or looks misspelled."},
        "fullDescription": {
            "text": "-log2 of the word's probability, given the text before it, is high. A misspelling has more bits."
        },
        "defaultConfiguration": {"level": "note"},
    }
    found = [_sarif_result(result.name, word) for result in results for word in result.fields["words"]]
    return make_log("llm proofread", [rule], found)


def _sarif_result(name: str, word: dict[str, Any]) -> dict[str, Any]:
    page = {} if word["page"] is None else {"page": word["page"]}
    region = {
        "startLine": word["line"],
        "startColumn": word["column"],
        "endColumn": word["column"] + len(word["word"]),
        "snippet": {"text": word["word"]},
    }
    place = {"uri": file_uri(name)}
    found = {
        "ruleId": RULE_ID,
        "ruleIndex": 0,
        "level": "note",
        "message": {"text": f"\u201c{word['word']}\u201d surprises the model ({word['score']:.1f} bits)."},
        "rank": min(_MAX_RANK, word["score"]),
        "locations": [{"physicalLocation": {"artifactLocation": place, "region": region}}],
        "properties": {"bits": word["score"], **page},
    }
    if word["suggestion"] is not None:
        text = f"\u201c{word['word']}\u201d looks like a misspelling of \u201c{word['suggestion']}\u201d"
        found["message"] = {"text": f"{text} ({word['score']:.1f} bits)."}
        replacement = {"deletedRegion": region, "insertedContent": {"text": word["suggestion"]}}
        found["fixes"] = [{"artifactChanges": [{"artifactLocation": place, "replacements": [replacement]}]}]
    return found
