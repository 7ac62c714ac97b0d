"""``llm generate``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import keep_in_log
from llmcli.cli.commands.generate.text_options import LongTextOptions
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.input import document_inputs, inputs
from llmcli.cli.input.text_values import read_variables
from llmcli.cli.options import VariablesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags, record_flags, wants_records
from llmcli.cli.render.renderer import render_task
from llmcli.errors import UsageError
from llmcli.machine_needs import WRITING


@command(
    examples="""
      llm generate --list
      llm generate report "Heat pumps in old houses" --words 5000 -o report.md
      llm generate email --list
      llm generate email --var topic="a later meeting" --var tone=formal
      llm generate article --var topic=tides --var text=@notes.txt
      llm generate poem --var topic=rain --seed 7
      llm generate email -f people.csv --var tone=formal -o emails.csv
      llm generate article "What the study shows" --from notes/ --from study.pdf -o article.md
      llm generate book "A winter garden" --outline-only -o outline.md
      llm generate book --outline outline.md -o book.docx
      llm generate report -o report.md --revise Costs "Shorter, with the figures of 2024"
    """,
    flags=RecordFlags,
    model_task="chat",
    needs=WRITING,
)
def generate(
    ctx: CommandContext,
    kind: Annotated[
        str | None,
        Argument(metavar="[KIND]", help="What to write: article, email, ...", autocompletion="generate_kinds"),
    ] = None,
    topic: Annotated[
        list[str] | None,
        Argument(metavar="[TOPIC]...", help="Of a report, article, book, slides; or the change."),
    ] = None,
    *,
    var: VariablesOption = None,
    file: Annotated[
        list[str] | None,
        Option("-f", "--file", metavar="FILE", help="Records: a text for each, its columns as variables."),
    ] = None,
    outline: Annotated[
        str | None,
        Option("--outline", metavar="FILE", help="Sections and points (Markdown; default: the model's)."),
    ] = None,
    outline_only: Annotated[bool, Option("--outline-only", help="Write only the outline, to be edited.")] = False,
    edit: Annotated[bool, Option("--edit", help="Edit the outline before the rest is written.")] = False,
    sources: Annotated[
        list[str] | None,
        Option("--from", metavar="FILE", help="Documents whose facts are cited; repeatable."),
    ] = None,
    words: Annotated[
        int | None,
        Option("--words", min=20, max=1_000_000, metavar="N", help="Length of the text."),
    ] = None,
    language: Annotated[
        str,
        Option(
            "--language",
            metavar="LANG",
            help="Language of the text: fr, French.",
            autocompletion="languages",
        ),
    ] = "",
    revise: Annotated[
        str | None,
        Option("--revise", metavar="SECTION", help="Write this section of -o again, keep the others."),
    ] = None,
    show_list: Annotated[
        bool,
        Option(
            "--list",
            help="List the kinds, or the variables of KIND with default, choices, description.",
        ),
    ] = False,
) -> int:
    """Write an email, a story, ..., or a report of any length.

    With a TOPIC or an outline, a report, an article, a book or slides are written section by section, as Markdown, HTML
    or Word by the name of -o. The exit code is 3 if a section is empty, too short, or has a number that stands in no
    document of --from. An interrupted text goes on when you repeat the command.
    """
    is_dry_run = record_flags(ctx).dry_run and not (file or wants_records(ctx.flags))
    options = LongTextOptions(
        topic or [], outline, outline_only, edit, sources or [], words, language, revise, dry_run=is_dry_run
    )
    if show_list:
        if ctx.flags.output is not None:
            raise UsageError("--list goes to standard output, so it takes no --output")
        return _list_kinds(ctx, kind)
    if kind is None:
        raise UsageError("which kind of text?", detail="Try: llm generate --list")
    if len(kind.split()) > 1:  # a request, as of llm ask
        other = format_command("ask", " ".join(["Write", kind, *options.topic]))
        raise UsageError(f"{kind!r} is no kind of text", detail=f"Try: llm generate --list, or {other}")
    if options.option_names or _is_long(ctx, kind):
        from llmcli.cli.commands.generate.long_text_run import run_long_text

        return run_long_text(ctx, kind, options, takes_text=not (var or file or wants_records(ctx.flags)))
    return _write_whole(ctx, kind, var or [], file or [])


def _write_whole(ctx: CommandContext, kind: str, var: list[str], files: list[str]) -> int:
    """Write a text in one answer, or one for each record; return the exit code."""
    from llmcli.tasks.generate import find_kind
    from llmcli.tasks.generate import generate as task

    prompt = find_kind(ctx.runtime.prompts, kind)  # before a model is looked for
    variables, read = read_variables(ctx, var)
    if files or wants_records(ctx.flags):
        from llmcli.cli.records.record_run import generate_spec, run_records

        return run_records(ctx, files, generate_spec(ctx, prompt, variables))
    text = document_inputs.read_stdin_document(ctx).text if inputs.reads_stdin(ctx, read) else None
    options = ctx.generation_options()
    run = keep_in_log(ctx, lambda backend: task(backend, ctx.runtime.prompts, kind, variables, text, options))
    return render_task(ctx, run).exit_code


def _is_long(ctx: CommandContext, kind: str) -> bool:
    """Whether a kind can only be written section by section."""
    from llmcli.prompts.contracts import GENERATE_PREFIX
    from llmcli.tasks.generate.outline import LongKind

    return kind in {*LongKind} and not ctx.runtime.prompts.exists(GENERATE_PREFIX + kind)


def _list_kinds(ctx: CommandContext, kind: str | None) -> int:
    from llmcli.prompts.prompt_library import find_own_prompt

    if kind is None:
        rows = _describe_kinds(ctx)
    elif _is_long(ctx, kind):
        raise UsageError(f"a {kind} has no variables", detail=f'Try: llm generate {kind} "Heat pumps in old houses"')
    else:
        rows = [
            {
                "variable": variable.name,
                "default": variable.default,
                "choices": list(variable.choices),
                "description": variable.description,
            }
            for variable in find_own_prompt(ctx.runtime.prompts, kind, kinds_first=True).variables.values()
        ]
    ctx.console.write_table(
        rows
        if ctx.console.as_json
        else [{name: _format_cell(name, cell) for name, cell in row.items()} for row in rows]
    )
    return 0


def _describe_kinds(ctx: CommandContext) -> list[dict[str, object]]:
    """Return a row for each kind of text, and for each prompt of the user's own."""
    from llmcli.prompts.contracts import GENERATE_PREFIX, is_own_name

    found = [
        (summary.name.removeprefix(GENERATE_PREFIX), summary.description)
        for summary in ctx.runtime.prompts.list_summaries()
        if summary.name.startswith(GENERATE_PREFIX) or (summary.is_user_file and is_own_name(summary.name))
    ]
    from llmcli.tasks.generate.outline import LongKind

    known = {name for name, _ in found}
    found += [(str(kind), kind.description) for kind in LongKind if kind not in known]
    return [{"kind": name, "description": text} for name, text in sorted(found)]


def _format_cell(name: str, cell: object) -> object:
    if isinstance(cell, list):
        return ", ".join(cell)
    return "(required)" if name == "default" and cell is None else cell
