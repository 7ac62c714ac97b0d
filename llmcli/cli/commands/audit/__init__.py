"""``llm audit``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.commands.ask import PromptOption
from llmcli.cli.commands.filter import AlternativesOption, ConjunctsOption, ExcludedOption
from llmcli.cli.commands.sentiment import TextUnit
from llmcli.cli.flags import Writes
from llmcli.cli.groups import CommandGroup
from llmcli.cli.labels.scoring_flags import FilterFlags, ScoringFlags
from llmcli.cli.options import GENERAL_OPTIONS, FileOption, FilesArgument, SystemOption, VariablesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags
from llmcli.machine_needs import LABELS, QUESTION

_OWN_REPORTS = ("summary", "evaluate", "plot")
"""Options about other reports than that of an audit."""

SwapOption = Annotated[
    str,
    Option(
        "--swap",
        metavar="NAME|@FILE",
        help="The words to swap: a list of llm's (llm audit list), or a file.",
        autocompletion="swap_files",
    ),
]
ReferenceOption = Annotated[
    str | None,
    Option(
        "--reference", metavar="GROUP", help="Compare with this group instead of the mean of the others.", rare=True
    ),
]
FailAboveOption = Annotated[
    float | None,
    Option("--fail-above", min=0.0, metavar="SHIFT", help="Exit with 1 if a significant shift is larger."),
]
ReportOption = Annotated[str | None, Option("--report", metavar="FILE", help="Write a report in Markdown.")]
PlotOption = Annotated[
    str | None, Option("--plot", metavar="FILE", help="Draw the shifts with their intervals (.svg or .png).")
]


@command(
    without=_OWN_REPORTS,
    needs=LABELS,
    writes=Writes.SCORES,
    has_rows=False,
    examples="""
      llm audit show templates | llm audit sentiment --swap names
      llm audit sentiment --swap pronouns applicants.txt --report audit.md
    """,
    flags=ScoringFlags,
)
def sentiment(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    swap: SwapOption,
    reference: ReferenceOption = None,
    fail_above: FailAboveOption = None,
    report: ReportOption = None,
    plot: PlotOption = None,
    by: Annotated[TextUnit, Option("--by", help="What is labelled in plain text.")] = TextUnit.LINE,
) -> int:
    """Audit llm sentiment: the same texts with other people in them.

    The measures are the probabilities of the labels.
    """
    from llmcli.cli.commands.audit.audit_run import AuditRequest, run_audit
    from llmcli.cli.labels.label_run import make_sentiment_run

    spec = make_sentiment_run(ctx, by=by.value).record_spec()
    return run_audit(ctx, files or [], spec, AuditRequest(swap, reference, fail_above, report, plot))


@command(
    without=_OWN_REPORTS,
    needs=LABELS,
    writes=Writes.SCORES,
    has_rows=False,
    examples="""
      llm audit classify --labels yes,no --swap names applicants.txt
      llm audit classify --labels yes,no --swap @names.yaml applicants.csv --fail-above 0.05
    """,
    flags=ScoringFlags,
)
def classify(
    ctx: CommandContext,
    labels: Annotated[
        str, Option("--labels", metavar="A,B,...|@FILE", help="The labels, or a YAML file with descriptions.")
    ],
    files: FilesArgument = None,
    *,
    swap: SwapOption,
    reference: ReferenceOption = None,
    fail_above: FailAboveOption = None,
    report: ReportOption = None,
    plot: PlotOption = None,
    multi: Annotated[bool, Option("--multi", help="Labels do not exclude each other: give all that apply.")] = False,
) -> int:
    """Audit llm classify: the same texts with other people in them.

    The measures are the probabilities of the labels.
    """
    from llmcli.cli.commands.audit.audit_run import AuditRequest, run_audit
    from llmcli.cli.labels.label_run import make_classify_run, read_labels

    spec = make_classify_run(ctx, read_labels(ctx, labels), multi=multi).record_spec()
    return run_audit(ctx, files or [], spec, AuditRequest(swap, reference, fail_above, report, plot))


@command(
    without=_OWN_REPORTS,
    needs=LABELS,
    writes=Writes.SCORES,
    has_rows=False,
    examples="""
      llm audit filter "the person can be trusted" --swap names applicants.txt
      llm audit filter "it is urgent" --swap @names.yaml applicants.txt --plot audit.svg
    """,
    flags=FilterFlags,
)
def filter(  # noqa: A001 (the command's name)
    ctx: CommandContext,
    statement: Annotated[str, Argument(metavar="STATEMENT", help="What must hold for a record.")],
    files: FilesArgument = None,
    *,
    swap: SwapOption,
    reference: ReferenceOption = None,
    fail_above: FailAboveOption = None,
    report: ReportOption = None,
    plot: PlotOption = None,
    conjuncts: ConjunctsOption = None,
    alternatives: AlternativesOption = None,
    excluded: ExcludedOption = None,
) -> int:
    """Audit llm filter: the same texts with other people in them.

    The measure is the probability that the statement holds.
    """
    from llmcli.cli.commands.audit.audit_run import AuditRequest, run_audit
    from llmcli.cli.commands.filter.filter_run import FilterRun, FilterView, make_query

    query = make_query(ctx, [statement], conjuncts, alternatives, excluded, invert=False)
    spec = FilterRun(ctx, query, FilterView()).record_spec()
    return run_audit(ctx, files or [], spec, AuditRequest(swap, reference, fail_above, report, plot))


@command(
    needs=QUESTION,
    has_rows=False,
    examples="""
      llm audit show templates | llm audit ask "What should happen next?" --swap names --temperature 0
      llm audit ask "Should we answer?" -f applicants.txt --swap names --fail-above 0.1
    """,
    flags=RecordFlags,
)
def ask(
    ctx: CommandContext,
    words: Annotated[
        list[str] | None, Argument(metavar="[PROMPT]...", help="The question about each text.", is_prose=True)
    ] = None,
    *,
    swap: SwapOption,
    file: FileOption = None,
    reference: ReferenceOption = None,
    fail_above: FailAboveOption = None,
    report: ReportOption = None,
    plot: PlotOption = None,
    system: SystemOption = None,
    prompt: PromptOption = None,
    var: VariablesOption = None,
) -> int:
    """Audit llm ask: the same texts with other people in them.

    The measures are the share of refusals, the length relative to the other answers about a text, and the sentiment of
    the answers from -1 to 1. Without a question, each text is one.
    """
    from llmcli.cli.commands.ask import make_record_spec
    from llmcli.cli.commands.audit.audit_run import AuditRequest, run_audit
    from llmcli.cli.input.text_values import join_words, read_option_text

    instructions = "" if system is None else read_option_text(ctx, "--system", system)
    spec = make_record_spec(ctx, join_words(ctx, words, reads_files=True), prompt, var or [], instructions)
    request = AuditRequest(swap, reference, fail_above, report, plot, rates_answers=True)
    return run_audit(ctx, file or [], spec, request)


@command(*GENERAL_OPTIONS, examples="llm audit list\nllm audit list --json | jq -r .name")
def show_list(ctx: CommandContext) -> int:
    """List the words that --swap knows, and the templates.

    In a pipe, tab-separated: name, groups, description.
    """
    from llmcli.tasks.audit.swap_file import TEMPLATES, bundled_names, parse_swap_file, read_bundled

    swaps = [parse_swap_file(read_bundled(name), name) for name in bundled_names()]
    rows = [{"name": each.name, "groups": len(each.groups), "description": each.description} for each in swaps]
    rows.append({"name": TEMPLATES, "groups": None, "description": "50 sentences about a person, with slots."})
    ctx.console.write_table(rows)
    return 0


@command(*GENERAL_OPTIONS, examples="llm audit show names > names.yaml\nllm audit show templates")
def show(
    ctx: CommandContext,
    name: Annotated[str, Argument(metavar="NAME", help="A list, or templates.", autocompletion="swap_files")],
) -> int:
    """Show the words of a list with their sources, as a file to change; or the templates, one a line."""
    from llmcli.tasks.audit.swap_file import TEMPLATES, read_bundled, read_templates

    text = read_templates() if name == TEMPLATES else read_bundled(name)
    if ctx.console.as_json:
        ctx.console.write_record({"name": name, "text": text})
    else:
        ctx.console.write_stdout(text)
    return 0


audit = CommandGroup(
    "Check whether labels and answers change with the people in a text.",
    {
        "sentiment": sentiment,
        "classify": classify,
        "filter": filter,
        "ask": ask,
        "list": show_list,
        "show": show,
    },
    area=CommandArea.RECORDS,
    listed=False,
)
