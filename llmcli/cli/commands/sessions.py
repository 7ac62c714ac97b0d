"""``llm sessions``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from llmcli.cli import completers
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, Yes, command
from llmcli.errors import MissingError, UsageError
from llmcli.interrupt import run_interruptible
from llmcli.settings import DATA_DIR

Name = Annotated[str, typer.Argument(metavar="NAME", help="A saved chat.", autocompletion=completers.sessions)]


class Format(StrEnum):
    """What an export looks like."""

    MARKDOWN = "markdown"
    JSON = "json"


@command(*GENERAL, examples="llm sessions list\nllm sessions list --json | jq -r .name")
def show_list(cli: Context) -> int:
    """List the saved chats, the one used last first.

    In a pipe, tab-separated: name, last used (UTC), messages, model, beginning of the first message.
    """
    from llmcli.cli import saving, transcript

    with saving.look(cli) as sessions:
        found = sessions.list()
    people = cli.world.terminal(cli.world.stdout) and not cli.flags.json
    if people and not found:
        cli.write("No chat is saved yet.\n")
    rows = [transcript.row_for_people(each) if people else transcript.row(each) for each in found]
    cli.table(rows, preview="first")
    return 0


@command(*GENERAL, examples="llm sessions show work\nllm sessions show work --json | jq -r '.messages[-1].content'")
def show(cli: Context, name: Name) -> int:
    """Show a saved chat as Markdown; with --json all that is known of it."""
    from llmcli.cli import saving, transcript
    from llmcli.cli.text import Ending, text_out

    with saving.look(cli) as sessions:
        session = sessions.get(saving.checked(name))
        turns = sessions.turns(session)
    if cli.flags.json:
        cli.facts(transcript.whole(session, turns))
        return 0
    with cli.stdout() as sink:
        out = text_out(cli, sink, ending=Ending.LINE, markdown=True)
        out.feed(transcript.markdown(session, turns))
        out.finish()
    return 0


@command(
    *GENERAL,
    examples="llm sessions rm work\nllm sessions rm --yes 2026-01-31-0915 2026-02-01-1740\nllm sessions rm --all",
)
def rm(
    cli: Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Saved chats.", autocompletion=completers.sessions),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Yes = False,
) -> int:
    """Remove saved chats, and what models keep of them on disk; asks first, unless --yes."""
    from llmcli.cli import asking, saving
    from llmcli.engine.prefixes import forget_sessions

    if every == bool(names):
        raise UsageError("remove which?", detail="Try: llm sessions rm NAME, or: llm sessions rm --all")
    with saving.look(cli) as sessions:
        chosen = [sessions.get(saving.checked(name)) for name in dict.fromkeys(names or ())]
        chosen = chosen or [each.session for each in sessions.list()]
    what = f"Remove {chosen[0].name}" if len(chosen) == 1 else f"Remove {len(chosen)} saved chats"
    again = ("sessions", "rm", "--yes", *(["--all"] if every else names or ()))
    if chosen and not yes and not asking.confirmed(cli, what, again, [DATA_DIR]):
        return 1
    ids = {session.id for session in chosen}
    forget_sessions(cli.paths.prefixes, ids.__contains__)
    if chosen:
        with saving.open_sessions(cli) as sessions:
            sessions.remove(chosen)
    with saving.look(cli) as sessions:  # of those too that were killed, or removed while somebody went on with them
        known = {each.session.id for each in sessions.list()}
    forget_sessions(cli.paths.prefixes, lambda session_id: session_id not in known)
    if cli.flags.json:
        cli.facts({"removed": [session.name for session in chosen]})
    return 0


@command(
    *GENERAL,
    "output",
    examples="llm sessions export work -o work.md\nllm sessions export work --format json | jq -r '.[-1].content'",
)
def export(
    cli: Context,
    name: Name,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="markdown (default), or json: a list of messages as OpenAI's protocol has them."),
    ] = None,
) -> int:
    """Write a saved chat for other programs; --json is --format json."""
    from llmcli.cli import saving, transcript
    from llmcli.documents.writing import atomic_write

    if cli.flags.json and form is Format.MARKDOWN:
        raise UsageError("--json and --format markdown exclude each other")
    with saving.look(cli) as sessions:
        session = sessions.get(saving.checked(name))
        turns = sessions.turns(session)
    as_json = cli.flags.json or form is Format.JSON
    text = run_interruptible(transcript.messages if as_json else transcript.markdown, session, turns)
    if cli.flags.output is None:
        cli.write(text)
        return 0
    with atomic_write(cli.flags.output, interrupt=cli.interrupt) as file:
        file.write(text.encode())
    return 0


@command(*GENERAL, examples='llm sessions search invoice\nllm sessions search "due date" | cut -f 1 | sort -u')
def search(
    cli: Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in whatever case.")],
) -> int:
    """Print the lines of saved chats that hold TEXT.

    In a pipe, tab-separated: name, number of the message, who said it, line. Nothing found is 66.
    """
    from llmcli.cli import saving, transcript
    from llmcli.cli.inputs import argument

    wanted = argument(text)
    if not wanted.strip():
        raise UsageError("search for what?", detail="Try: llm sessions search TEXT")
    with saving.look(cli) as sessions:
        found = list(sessions.search(wanted))
    if not found:
        raise MissingError(wanted, kind="line")
    people = cli.world.terminal(cli.world.stdout) and not cli.flags.json
    cli.table([transcript.match(each, wanted if people else "") for each in found], preview="line")
    return 0


@command(*GENERAL, examples="llm sessions rename 2026-01-31-0915 work")
def rename(
    cli: Context,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Letters, digits and ._- may be in it.")],
) -> int:
    """Give a saved chat another name."""
    from llmcli.cli import saving

    saving.checked(new)
    with saving.look(cli) as sessions:
        session = sessions.get(saving.checked(name))
    with saving.open_sessions(cli) as sessions:
        if not sessions.rename(session, new):
            raise saving.taken(new)
    if cli.flags.json:
        cli.facts({"name": new})
    return 0


sessions = group(
    "Look at saved chats, search and remove them.",
    {"list": show_list, "show": show, "rm": rm, "export": export, "search": search, "rename": rename},
)
