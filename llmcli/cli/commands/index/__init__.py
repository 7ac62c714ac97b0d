"""``llm index``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option

_MODEL_OPTIONS = ("model", "ctx", "pull", "offline", "timeout")
DirectoriesArgument = Annotated[list[str], Argument(metavar="DIRECTORY...", help="Directories, or single documents.")]
IndexedArgument = Annotated[
    list[str],
    Argument(metavar="DIRECTORY...", help="Directories that have an index.", autocompletion="indexes"),
]
EmbedOption = Annotated[bool, Option("--embed", help="Use vectors of a model too, not only words.")]


@command(
    *GENERAL_OPTIONS,
    *_MODEL_OPTIONS,
    examples="llm index add docs\nllm index add docs letters",
)
def add(ctx: CommandContext, directories: DirectoriesArgument, embed: EmbedOption = False) -> int:
    """Index the documents in directories, or bring their indexes up to date.

    Only files whose content changed are read again. With --embed, the setting embedding_model computes the vectors of
    passages, else the model that answers.
    """
    from llmcli.cli.commands.index.index_run import add_directories

    return add_directories(ctx, directories, embed=embed)


@command(*GENERAL_OPTIONS, examples="llm index list\nllm index list --json | jq -r .directory")
def show_list(ctx: CommandContext) -> int:
    """List the indexed directories.

    In a pipe, tab-separated: directory, files, passages, vectors, size in bytes, date of the last change.
    """
    from llmcli.cli.commands.index.index_run import IndexOutcome, summary_rows
    from llmcli.store.passage_index import IndexFiles

    outcome = IndexOutcome()
    summaries = IndexFiles(ctx.runtime.paths.indexes).summaries(lambda error: outcome.fail(ctx, error, ""))
    rows = summary_rows(summaries, people=ctx.console.writes_for_people)
    if not rows and outcome.failure is None and ctx.console.writes_for_people:
        ctx.console.write_stdout("No directory has an index. Try: llm index add DIRECTORY\n")
    ctx.console.write_table(rows)
    outcome.delivered = bool(rows)
    return outcome.exit_code


@command(*GENERAL_OPTIONS, examples="llm index rm docs\nllm index rm --yes letters")
def rm(ctx: CommandContext, directories: IndexedArgument, yes: YesOption = False) -> int:
    """Remove the indexes of directories; the documents stay. Asks first, unless --yes."""
    from llmcli.cli.commands.index.index_run import remove_indexes

    return remove_indexes(ctx, directories, yes=yes)


@command(
    *GENERAL_OPTIONS,
    *_MODEL_OPTIONS,
    examples="""
      llm index search workshop
      llm index search --in docs --limit 3 "Who repairs my bicycle?"
      llm index search --json workshop | jq -r '"\\(.file):\\(.first_line)"'
    """,
)
def search(
    ctx: CommandContext,
    query: Annotated[str, Argument(metavar="QUERY", help="Words or a question.")],
    inside: Annotated[
        list[str] | None,
        Option(
            "--in",
            metavar="DIRECTORY",
            help="Search this directory's index; repeatable (default: all).",
            autocompletion="indexes",
        ),
    ] = None,
    limit: Annotated[int, Option("--limit", min=1, max=1000, metavar="N", help="Passages at most.")] = 10,
    embed: EmbedOption = False,
) -> int:
    """Print the passages that match a query best.

    In a pipe, tab-separated: file, page or lines, text. The exit code is 66 if nothing was found.
    """
    from llmcli.cli.commands.index.index_run import passage_rows, search_indexes
    from llmcli.cli.input.inputs import decode_argument

    found, code = search_indexes(ctx, decode_argument(query), inside, limit, embed=embed)
    ctx.console.write_table(passage_rows(found, as_json=ctx.console.as_json), preview="text")
    return code


index = CommandGroup(
    "Index directories of documents, for llm ask and for search.",
    {"add": add, "list": show_list, "search": search, "rm": rm},
    listed=False,
)
