"""``llm logs``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import MissingError, UsageError
from llmcli.machine_needs import WRITING
from llmcli.settings import DATA_DIR_VARIABLE
from llmcli.store.answer_log import AnswerLog, LoggedAnswer

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SWITCH_ON = "llm config set logs on"

OptionalNumberArgument = Annotated[
    int | None, Argument(metavar="[ID]", help="A kept answer (see llm logs list); default: the last one.")
]
NumbersArgument = Annotated[list[int] | None, Argument(metavar="[ID]...", help="Kept answers (see llm logs list).")]


def _open(ctx: CommandContext) -> AnswerLog:
    """Open the log to read it; without a file it is empty."""
    return AnswerLog(ctx.runtime.paths.logs, read_only=True)


def _note_off(ctx: CommandContext) -> None:
    if ctx.runtime.settings["logs"] == "off":
        ctx.console.write_note(f"logs are off: new answers are not kept. To keep them: {_SWITCH_ON}")


@command(*GENERAL_OPTIONS, examples="llm logs list\nllm logs list --limit 5 --json | jq -r .question")
def show_list(
    ctx: CommandContext,
    limit: Annotated[int | None, Option("-n", "--limit", min=1, metavar="N", help="Only the newest N.")] = None,
) -> int:
    """List the kept answers of ask and generate, the newest first.

    Answers are kept while the setting logs is on: llm config set logs on. In a pipe, tab-separated: id, time (UTC),
    command, model, tokens of the answer, beginning of the question.
    """
    from llmcli.cli.commands.logs import log_view

    people = ctx.console.writes_for_people
    with _open(ctx) as log:
        rows = [log_view.answer_row(each, people=people) for each in log.list(limit)]
    _note_off(ctx)
    if people and not rows:
        ctx.console.write_stdout("No answer is kept yet.\n")
    ctx.console.write_table(rows, preview="question")
    return 0


@command(*GENERAL_OPTIONS, examples="llm logs show\nllm logs show 2\nllm logs show 2 --json | jq -r .answer")
def show(ctx: CommandContext, number: OptionalNumberArgument = None) -> int:
    """Show a kept answer with its question and instructions as Markdown; with --json all its data."""
    from llmcli.cli.commands.logs import log_view
    from llmcli.cli.render.renderer import write_markdown

    with _open(ctx) as log:
        entry = log.get(number)
    if ctx.console.as_json:
        ctx.console.write_record(log_view.answer_as_object(entry))
        return 0
    write_markdown(ctx, log_view.answer_as_markdown(entry))
    return 0


@command(*GENERAL_OPTIONS, examples="llm logs search invoice\nllm logs search '\"due date\"' --json | jq .id")
def search(
    ctx: CommandContext,
    text: Annotated[list[str], Argument(metavar="TEXT...", help='Words, all of which it contains; "a phrase".')],
) -> int:
    """Print the kept answers whose question or answer contains all words of TEXT, the newest first.

    In a pipe, tab-separated: id, time (UTC), model, the first line with one of the words. The exit code is 66 if there
    is none.
    """
    from llmcli.cli.commands.logs import log_view
    from llmcli.cli.input.inputs import decode_argument

    wanted, people = decode_argument(" ".join(text)), ctx.console.writes_for_people
    if not wanted.strip():
        raise UsageError("search for what?", detail="Try: llm logs search TEXT")
    with _open(ctx) as log:
        rows = [log_view.match_row(each, wanted, people=people) for each in log.search(wanted)]
    _note_off(ctx)
    if not rows:
        raise MissingError(wanted, kind="logged words")
    ctx.console.write_table(rows, preview="line")
    return 0


@command("output", "quiet", "verbose", examples="llm logs export > answers.jsonl\nllm logs export 2 -o answer.jsonl")
def export(ctx: CommandContext, numbers: NumbersArgument = None) -> int:
    """Write kept answers with all their data as JSON Lines; without ID all of them, the newest first."""
    from llmcli.cli.commands.logs import log_view
    from llmcli.cli.console import json_text

    def lines(log: AnswerLog) -> Iterator[bytes]:
        found = map(log.get, dict.fromkeys(numbers)) if numbers else log.list()
        for entry in found:
            ctx.runtime.interrupt.check()
            yield (json_text.dumps(log_view.answer_as_object(entry)) + "\n").encode("utf-8", "replace")

    with _open(ctx) as log, ctx.console.open_output(ctx.flags.output) as sink:
        for line in lines(log):
            sink.write(line)
    return 0


@command(*GENERAL_OPTIONS, examples="llm logs rm 1 2\nllm logs rm --older-than 30d\nllm logs rm --all --yes")
def rm(
    ctx: CommandContext,
    numbers: NumbersArgument = None,
    older: Annotated[
        str | None, Option("--older-than", metavar="AGE", help="All that are older: 90m, 12h, 30d, 8w.")
    ] = None,
    every: Annotated[bool, Option("--all", help="All of them.")] = False,
    yes: YesOption = False,
) -> int:
    """Remove kept answers; asks first, unless --yes."""
    from llmcli.cli.console import confirm

    if (bool(numbers), older is not None, every).count(True) != 1:
        raise UsageError("remove which kept answers?", detail="Try: llm logs rm ID, or: llm logs rm --older-than 30d")
    chosen = _chosen_ids(ctx, numbers or (), older)
    what = f"Remove answer {chosen[0]}" if len(chosen) == 1 else f"Remove {len(chosen)} kept answers"
    words = ["--all"] if every else ["--older-than", older] if older is not None else [*map(str, chosen)]
    again = ("logs", "rm", "--yes", *words)
    if chosen and not yes and not confirm.require_confirmation(ctx.console, what, again, [DATA_DIR_VARIABLE]):
        return 1
    if chosen:
        with AnswerLog(ctx.runtime.paths.logs) as log:
            log.remove(chosen)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": chosen})
    return 0


def _chosen_ids(ctx: CommandContext, numbers: Sequence[int], older: str | None) -> list[int]:
    """Return the ids of the answers to remove. Raises ``MissingError`` for one that does not exist."""
    with _open(ctx) as log:
        if numbers:
            return [log.get(number).id for number in dict.fromkeys(numbers)]
        return list(log.ids_before(None if older is None else time.time() - _parse_age(older)))


def _parse_age(text: str) -> float:
    """Return the seconds of ``30d``, ``12h``, ...; raises ``UsageError``."""
    count, unit = text[:-1], text[-1:]
    if not count.isdecimal() or unit not in _SECONDS:
        raise UsageError(f"--older-than: expected a number with m, h, d or w, not {text}", detail="Try: 30d")
    return int(count) * _SECONDS[unit]


@command(
    without=("max_cost", "provenance"),
    needs=WRITING,
    examples="llm logs repeat 2\nllm logs repeat 2 --temperature 0\nllm logs repeat 2 --seed 7 --json",
)
def repeat(ctx: CommandContext, number: OptionalNumberArgument = None) -> int:
    """Ask for a kept answer again: the same request, model, weights and options.

    Options on the command line replace those of the answer. Its question stands in the log, so changed or removed files
    do not matter. A worker that evaluates other things beside it may still change an answer; with --set worker=off, or
    if it was asked with --deterministic, it is the same.
    """
    from llmcli.cli.commands.logs.log_view import repeat_answer

    with _open(ctx) as log:
        entry: LoggedAnswer = log.get(number)
    return repeat_answer(ctx, entry)


logs = CommandGroup(
    "List, show, search, export, repeat and remove kept answers.",
    {"list": show_list, "show": show, "search": search, "export": export, "rm": rm, "repeat": repeat},
    area=CommandArea.HOUSEKEEPING,
    listed=False,
)
