"""``llm ask``."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import AnswerOptions, render_answer
from llmcli.cli.input import question_inputs
from llmcli.cli.input.inputs import STDIN
from llmcli.cli.options import ContinueOption, FileOption, SessionOption, SystemOption, VariablesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags, record_flags, wants_records
from llmcli.errors import UsageError
from llmcli.machine_needs import QUESTION
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.records.record_run import RecordRunSpec

_MIN_DOCUMENT_CHARS = 1000
"""Characters of standard input from which it may be a document about which the user forgot to ask."""
_QUESTION_MARKS = frozenset("?\N{FULLWIDTH QUESTION MARK}\N{ARABIC QUESTION MARK}")
_COLONS = (":", "\N{FULLWIDTH COLON}")

PromptOption = Annotated[
    str | None,
    Option(
        "-p", "-t", "--prompt", metavar="NAME|FILE", help="Use a prompt of your own.", autocompletion="generate_kinds"
    ),
]


@command(
    examples="""
      llm ask What is the capital of France?
      llm ask -s "Answer in one sentence." "Why is the sky blue?"
      llm ask -f report.txt "What does it say about costs?"
      llm ask -f contract.pdf -f letters/ "What changed for tenants?"
      llm ask --cite -f guide.md "When does the workshop open?"
      llm index add letters && llm ask --index letters "What changed?"
      llm ask -f sales.csv "Which shop has the most receipts?"
      llm ask -f reviews.csv --column text "Which product?" -o answers.csv
      git diff | llm ask "Write a commit message for this change."
      git diff | llm ask -p review
      llm ask -x "A shell script that counts the lines of all files" > count.sh
      llm ask --schema "name, born int" "Who wrote the first program?"
      llm ask --session trip "Three sights in Lisbon?"
      llm ask --continue "Only one of them."
    """,
    flags=RecordFlags,
    model_task="chat",
    overflow_advice='give the long text as a document (llm ask -f FILE "QUESTION")',
    needs=QUESTION,
    also="Indexes: llm index.",
)
def ask(
    ctx: CommandContext,
    words: Annotated[
        list[str] | None,
        Argument(metavar="[PROMPT]...", help="The question, quoted or not; - is standard input.", is_prose=True),
    ] = None,
    *,
    file: FileOption = None,
    index: Annotated[
        list[str] | None,
        Option(
            "--index",
            metavar="NAME",
            help="An indexed directory (llm index add); repeatable.",
            autocompletion="index_names",
        ),
    ] = None,
    system: SystemOption = None,
    prompt: PromptOption = None,
    var: VariablesOption = None,
    editor: Annotated[
        bool, Option("--editor", help="Write the question in your editor ($VISUAL, $EDITOR).", rare=True)
    ] = False,
    session: SessionOption = None,
    go_on: ContinueOption = False,
    extract: Annotated[
        bool, Option("-x", "--extract", "--code", help="Print only the first code block of the answer.")
    ] = False,
    schema: Annotated[
        str | None,
        Option("--schema", metavar="SCHEMA", help="Answer in JSON: 'name, age int', or a schema file."),
    ] = None,
    copy: Annotated[bool, Option("--copy", help="Copy the answer to the terminal's clipboard too.", rare=True)] = False,
    cite: Annotated[bool, Option("--cite", help="Name the passages that the answer comes from.")] = False,
    sql: Annotated[bool, Option("--sql", help="Answer a question about small tables by an SQL query, too.")] = False,
) -> int:
    """Answer a question, with or without documents.

    Documents that do not fit the context are searched for the passages that answer the question, which are then named
    below the answer. Questions about tables (CSV, JSON) are answered by an SQL query, whose rows are printed: a
    template writes it if each word names something in the table, else the model if the table is large.
    """
    given = _name_options(prompt=prompt, session=session, go_on=go_on, cite=cite, sql=sql)
    one_answer = _name_options(extract=extract, schema=schema, copy=copy, cite=cite, sql=sql)
    records = wants_records(ctx.flags)
    dry_run = record_flags(ctx).dry_run
    _check_options(given, one_answer, variables=bool(var) and prompt is None, records=records, dry_run=dry_run)
    files = [*(file or []), *_find_indexes(ctx, index or [], given, records=records)]
    text = _read_words(ctx, words, editor=editor)
    instructions = None if system is None else _read_instructions(ctx, system)
    wanted = _answer_options(ctx, instructions or "", schema, extract=extract, copy=copy)
    if records:
        return _ask_records(ctx, files, make_record_spec(ctx, text, prompt, var or [], instructions or ""))
    if session is not None or go_on:
        from llmcli.cli.commands.ask.session_run import ask_in_session

        return ask_in_session(ctx, text, files, wanted, session=session, go_on=go_on, system=instructions)
    if prompt is not None:
        from llmcli.cli.commands.ask.prompted_run import make_prompted_task

        return render_answer(ctx, make_prompted_task(ctx, prompt, text, files, var or [], wanted), wanted)
    if files or cite or sql or dry_run:
        from llmcli.cli.commands.ask.question_run import ask_about_documents

        return ask_about_documents(ctx, text, files, wanted, cite=cite, sql=sql, dry_run=dry_run)
    return render_answer(ctx, _make_task(ctx, text, wanted), wanted)


def _name_options(**given: object) -> list[str]:
    """Return the names of the given options among those that choose how the question is answered."""
    return [
        "--continue" if name == "go_on" else f"--{name}" for name, value in given.items() if value not in (None, False)
    ]


def _check_options(
    given: Sequence[str], one_answer: Sequence[str], *, variables: bool, records: bool, dry_run: bool
) -> None:
    """Raise ``UsageError`` for options that make no sense together.

    ``variables``: there are variables without a prompt; ``one_answer``: the options that need one answer.
    """
    if variables:
        raise UsageError("--var needs a prompt", detail="Name it: -p NAME")
    wrong = [name for name in (*given, *one_answer) if name != "--prompt"]
    if records and wrong:
        raise UsageError(f"{wrong[0]} is not for records, which have an answer each")
    if dry_run and not records and {*given} & {"--prompt", "--session", "--continue"}:
        raise UsageError("--dry-run needs documents", detail="Name them: -f FILE")
    for pair in (given, [name for name in one_answer if name != "--copy"]):
        if len(pair) > 1:
            raise UsageError(f"{pair[0]} and {pair[1]} exclude each other")


def _find_indexes(ctx: CommandContext, names: Sequence[str], given: Sequence[str], *, records: bool) -> list[str]:
    """Return the directories of indexes.

    Raises ``UsageError`` beside options that read whole documents, ``MissingError``.
    """
    if not names:
        return []
    if records:
        raise UsageError("--index is not for records, which have an answer each")
    for name in ("--prompt", "--session", "--continue"):
        if name in given:
            raise UsageError(f"--index and {name} exclude each other")
    from llmcli.cli.commands.ask.indexed_sources import find_index_directory

    return [find_index_directory(ctx, name) for name in names]


def _answer_options(
    ctx: CommandContext, system: str, schema: str | None, *, extract: bool, copy: bool
) -> AnswerOptions:
    """Return what the user wants of the answer; the instructions describe the schema, too."""
    if schema is None:
        return AnswerOptions(extract=extract, copy=copy, system=system)
    from llmcli.cli.commands.ask.schema_answer import read_answer_schema, schema_instructions

    read = read_answer_schema(ctx, schema)
    told = "\n\n".join(filter(None, [system, schema_instructions(read)]))
    return AnswerOptions(copy=copy, system=told, schema=read)


def _read_words(ctx: CommandContext, words: Sequence[str] | None, *, editor: bool) -> str | None:
    """Return the question on the command line, or with ``editor`` what the user makes of it there; None without one."""
    if words and len(words) == 1:
        text: str | None = words[0]
    else:
        from llmcli.cli.input.text_values import join_words

        text = join_words(ctx, words, reads_files=True)
    if not editor:
        return text
    if text == STDIN:
        raise UsageError("- and --editor exclude each other")
    from llmcli.cli.input.editor import compose_text

    return compose_text(ctx.console, text or "")


def _read_instructions(ctx: CommandContext, value: str) -> str:
    from llmcli.cli.input.text_values import read_option_text

    return read_option_text(ctx, "--system", value)


def _ask_records(ctx: CommandContext, files: Sequence[str], spec: "RecordRunSpec") -> int:
    from llmcli.cli.records.record_run import run_records

    return run_records(ctx, files, spec)


def make_record_spec(
    ctx: CommandContext, text: str | None, prompt: str | None, variables: Sequence[str], system: str
) -> "RecordRunSpec":
    """Return how records are answered: with the question ``text``, or the prompt called ``prompt``."""
    if prompt is not None:
        from llmcli.cli.commands.ask.prompted_run import prompted_spec

        return prompted_spec(ctx, prompt, text, variables, system)
    from llmcli.cli.records.record_run import ask_spec

    return ask_spec(ctx, text, system=system)


def asks_nothing(text: str) -> bool:
    """Return whether a text is long, and neither its first nor its last line asks something or introduces the rest."""
    lines = text.strip().splitlines()
    if len(text) < _MIN_DOCUMENT_CHARS:
        return False
    return not any(_QUESTION_MARKS & set(line) or line.endswith(_COLONS) for line in (lines[0], lines[-1]))


def _make_task(
    ctx: CommandContext, text: str | None, wanted: AnswerOptions
) -> Callable[["Backend"], Iterator[TaskEvent]]:
    """Read the question, and return the task that answers it."""
    question, documents, _ = question_inputs.read_question(ctx, text, [])
    if text is None and not wanted.system and asks_nothing(question) and not ctx.console.as_json:
        ctx.console.write_note('the whole text is the question; to ask about it: llm ask "QUESTION" < FILE')

    def task(backend: "Backend") -> Iterator[TaskEvent]:
        from llmcli.tasks.ask import ask  # while the model loads

        options = wanted.generation_options(ctx)
        events = ask(backend, ctx.runtime.prompts, question, documents, options)
        if not documents:
            return events
        from llmcli.cli.input import source_inputs

        return source_inputs.add_source_notes(events, documents, one_answer=True)

    return task
