"""``llm sessions``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import MissingError, UsageError
from llmcli.interrupt import run_interruptible
from llmcli.settings import DATA_DIR_VARIABLE

SessionArgument = Annotated[str, Argument(metavar="NAME", help="A saved chat.", autocompletion="sessions")]


@command(*GENERAL_OPTIONS, examples="llm sessions list\nllm sessions list --json | jq -r .name")
def show_list(ctx: CommandContext) -> int:
    """List the saved chats, the most recently used first.

    In a pipe, tab-separated: name, last used (UTC), messages, model, beginning of the first message.
    """
    from llmcli.cli.commands.chat import chat_export, session_files

    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        found = sessions.list()
    people = ctx.console.writes_for_people
    if people and not found:
        ctx.console.write_stdout("No chat is saved yet.\n")
    rows = [chat_export.session_row_for_terminal(each) if people else chat_export.session_row(each) for each in found]
    ctx.console.write_table(rows, preview="first")
    return 0


@command(
    *GENERAL_OPTIONS, examples="llm sessions show work\nllm sessions show work --json | jq -r '.messages[-1].content'"
)
def show(ctx: CommandContext, name: SessionArgument) -> int:
    """Show a saved chat as Markdown; with --json all its data."""
    from llmcli.cli.commands.chat import chat_export, session_files
    from llmcli.cli.render.renderer import write_markdown

    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(session_files.require_valid_name(name))
        turns = sessions.load_turns(session)
    if ctx.console.as_json:
        ctx.console.write_record(chat_export.session_as_object(session, turns))
        return 0
    write_markdown(ctx, chat_export.session_as_markdown(session, turns))
    return 0


@command(
    *GENERAL_OPTIONS,
    examples="llm sessions rm work\nllm sessions rm --yes 2026-01-31-0915 2026-02-01-1740\nllm sessions rm --all",
)
def rm(
    ctx: CommandContext,
    names: Annotated[
        list[str] | None,
        Argument(metavar="[NAME]...", help="Saved chats.", autocompletion="sessions"),
    ] = None,
    every: Annotated[bool, Option("--all", help="All of them.")] = False,
    yes: YesOption = False,
) -> int:
    """Remove saved chats and their model states on disk; asks first, unless --yes.

    Messages that a fork shares stay. --all also removes the history of typed lines and copies of older formats.
    """
    from llmcli.cli.commands.chat import session_files
    from llmcli.cli.console import confirm
    from llmcli.engine.kv.disk_prefix_store import delete_sessions

    if every == bool(names):
        raise UsageError("remove which saved chat?", detail="Try: llm sessions rm NAME, or: llm sessions rm --all")
    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        chosen = [sessions.get(session_files.require_valid_name(name)) for name in dict.fromkeys(names or ())]
        chosen = chosen or [each.session for each in sessions.list()]
    what = f"Remove {chosen[0].name}" if len(chosen) == 1 else f"Remove {len(chosen)} saved chats"
    again = ("sessions", "rm", "--yes", *(["--all"] if every else names or ()))
    if chosen and not yes and not confirm.require_confirmation(ctx.console, what, again, [DATA_DIR_VARIABLE]):
        return 1
    ids = {session.id for session in chosen}
    delete_sessions(ctx.runtime.paths.prefix_cache, ids.__contains__)
    session_files.remove_sessions(ctx.runtime.paths.sessions, chosen, everything=every)
    # also remove states that a killed process left, or of sessions that were continued during the removal
    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        known = {each.session.id for each in sessions.list()}
    delete_sessions(ctx.runtime.paths.prefix_cache, lambda session_id: session_id not in known)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": [session.name for session in chosen]})
    return 0


@command(
    *GENERAL_OPTIONS,
    "output",
    examples="llm sessions export work -o work.md\nllm sessions export work --json | jq -r '.[-1].content'",
)
def export(ctx: CommandContext, name: SessionArgument) -> int:
    """Write a saved chat as Markdown; with --json as a list of messages in OpenAI's format."""
    from llmcli.cli.commands.chat import chat_export, session_files
    from llmcli.files.atomic_file import atomic_write

    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(session_files.require_valid_name(name))
        turns = sessions.load_turns(session)
    as_text = chat_export.session_as_messages if ctx.console.as_json else chat_export.session_as_markdown
    text = run_interruptible(as_text, session, turns)
    if ctx.flags.output is None:
        ctx.console.write_stdout(text)
        return 0
    with atomic_write(ctx.flags.output, interrupt=ctx.runtime.interrupt) as file:
        file.write(text.encode())
    return 0


@command(*GENERAL_OPTIONS, examples='llm sessions search invoice\nllm sessions search "due date" | cut -f 1 | sort -u')
def search(
    ctx: CommandContext,
    text: Annotated[
        str, Argument(metavar="TEXT", help='Words, all of which a message contains; "a phrase"; case is ignored.')
    ],
) -> int:
    """Print the lines of saved chats, in all branches, that contain words of TEXT.

    In a pipe, tab-separated: name, number of the message, role, line. The exit code is 66 if nothing was found.
    """
    from llmcli.cli.commands.chat import chat_export, session_files
    from llmcli.cli.input.inputs import decode_argument

    wanted = decode_argument(text)
    if not wanted.strip():
        raise UsageError("search for what?", detail="Try: llm sessions search TEXT")
    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        found = list(sessions.search(wanted))
    if not found:
        raise MissingError(wanted, kind="line")
    people = ctx.console.writes_for_people
    ctx.console.write_table([chat_export.match_row(each, wanted if people else "") for each in found], preview="line")
    return 0


@command(*GENERAL_OPTIONS, examples="llm sessions rename 2026-01-31-0915 invoices")
def rename(
    ctx: CommandContext,
    name: SessionArgument,
    new: Annotated[str, Argument(metavar="NEW", help="Letters, digits and ._- are allowed.")],
) -> int:
    """Rename a saved chat."""
    from llmcli.cli.commands.chat import session_files

    session_files.require_valid_name(new)
    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(session_files.require_valid_name(name))
    with session_files.open_sessions(ctx.runtime.paths.sessions) as sessions:
        if not sessions.rename(session, new):
            raise session_files.name_taken(new)
    if ctx.console.as_json:
        ctx.console.write_record({"name": new})
    return 0


@command(
    *GENERAL_OPTIONS, examples="llm sessions tree work\nllm sessions tree work --json | jq 'select(.current).content'"
)
def tree(ctx: CommandContext, name: SessionArgument) -> int:
    """Show all messages of a saved chat with their numbers and branches; a star marks the current branch.

    In a pipe, tab-separated: number, number of the message before it, role, current, pinned, interrupted, time, text.
    """
    from llmcli.cli.commands.chat import session_files, tree_view

    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(session_files.require_valid_name(name))
        turns = sessions.load_tree(session)
    if ctx.console.writes_for_people:
        columns = ctx.console.environment.columns(ctx.console.environment.stdout) - 1
        ctx.console.write_stdout(tree_view.format_tree(turns, session.head, columns) + "\n" if turns else "")
    else:
        ctx.console.write_table(tree_view.tree_rows(turns, session.head), preview="content")
    return 0


@command(*GENERAL_OPTIONS, examples="llm sessions fork work\nllm sessions fork work --at 2 --as other-answer")
def fork(
    ctx: CommandContext,
    name: SessionArgument,
    at: Annotated[
        int | None,
        Option("--at", min=1, metavar="N", help="Up to message N (see llm sessions tree); default: the last one."),
    ] = None,
    new: Annotated[
        str | None, Option("--as", metavar="NEW", help="The name of the new chat (default: NAME-fork).")
    ] = None,
) -> int:
    """Start a saved chat that shares the messages of another one."""
    from llmcli.cli.commands.chat import session_files, tree_view

    with session_files.open_read_only(ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(session_files.require_valid_name(name))
        head = session_files.message_id(sessions, session, at)
        new = session_files.require_valid_name(new) if new is not None else tree_view.free_fork_name(sessions, name)
    with session_files.open_sessions(ctx.runtime.paths.sessions) as sessions:
        if sessions.fork(session, head, new) is None:
            raise session_files.name_taken(new)
    if ctx.console.as_json:
        ctx.console.write_record({"name": new, "from": name, "at": at})
    else:
        ctx.console.write_stdout(f"{new}\n")
    return 0


sessions = CommandGroup(
    "List, show, search, export, fork and remove saved chats.",
    {
        "list": show_list,
        "show": show,
        "tree": tree,
        "fork": fork,
        "rm": rm,
        "export": export,
        "search": search,
        "rename": rename,
    },
    area=CommandArea.HOUSEKEEPING,
    listed=False,
)
