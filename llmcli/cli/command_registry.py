"""The table of commands, and the Typer application, in which only the typed command is complete.

``llm --help`` and a Tab press must not pay for other commands, so a command's module is imported only when its name is
the first word. The others are stubs with a line of help.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from llmcli import __version__
from llmcli.frozen_dataclass import frozen

PROGRAM_NAME = "llm"
TYPER_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,  # rich help costs 50 ms at every start
    "pretty_exceptions_enable": False,
}
SHORTEN_ADVICE = "shorten the input"
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}


@frozen
class Command:
    """A line of the table.

    ``module`` has a function or a ``typer.Typer`` of the command's name (``-`` as ``_``); "" is the module of that name
    among the commands here. For a verb (a command that runs a model), ``model_task`` is the catalogue task that decides
    which models are recommended, and ``overflow_advice`` says in the imperative what to do when the input does not fit
    the context; "" if only a larger context helps.
    """

    name: str
    help: str
    group: bool = False
    model_task: str = ""
    overflow_advice: str = SHORTEN_ADVICE
    module: str = ""

    @property
    def runs_model(self) -> bool:
        """Whether the command is a verb."""
        return bool(self.model_task)

    def load(self) -> Any:
        """Import the command's module and return its function, or its Typer application for a group."""
        word = self.name.replace("-", "_")
        return getattr(import_module(self.module or f"llmcli.cli.commands.{word}"), word)


COMMANDS = [
    Command(
        "ask",
        "Answer a question, with or without documents.",
        model_task="chat",
        overflow_advice="shorten the input, summarize it first (llm summarize FILE)",
    ),
    Command("chat", "Chat with a model on the terminal.", model_task="chat"),
    Command(
        "translate",
        "Translate documents into another language.",
        model_task="translate",
        overflow_advice="shorten --context or the glossary",
    ),
    Command(
        "summarize",
        "Summarize documents of any length.",
        model_task="summarize",
        overflow_advice="",  # its parts fit; only the instructions or the summaries may not
    ),
    Command("sentiment", "Label each line or record as positive, neutral or negative.", model_task="classify"),
    Command(
        "classify", "Give each line or record one of your labels, with the probability of each.", model_task="classify"
    ),
    Command(
        "filter",
        "Print the lines, rows or files for which a statement holds; exit code 1 if there are none.",
        model_task="classify",
    ),
    Command("label", "Ask you for the labels that teach most, for llm classify.", model_task="classify"),
    Command("generate", "Write an article, an email, a story, a poem, ...", model_task="chat"),
    Command("redact", "Show what would be replaced before text is sent to a server."),
    Command("calibrations", "List, show and remove calibrations of classify and sentiment.", group=True),
    Command("models", "Find, download, list and remove models.", group=True),
    Command("tm", "Show, export, import and clear the translation memory.", group=True),
    Command("prompts", "List, show, edit and check prompts.", group=True),
    Command("sessions", "List, show, search, export and remove saved chats.", group=True),
    Command("worker", "List, stop and restart the processes that keep models loaded.", group=True),
    Command("serve", "Serve your models to other programs over OpenAI's or Anthropic's protocol."),
    Command("backends", "List, add, test and remove remote servers.", group=True),
    Command("keys", "Store the keys of hosted models.", group=True),
    Command("config", "Show and edit the settings.", group=True),
    Command("doctor", "Report what this machine can run and what is wrong."),
    Command("completion", "Print the completion script for a shell."),
    Command("help", "Show the help of a command, or a page of the documentation."),
]


def register_command(command: Command) -> None:
    """Add a command. Raises ``ValueError`` if the name is taken."""
    if find_command(command.name) is not None:
        raise ValueError(f"the command {command.name} already exists")
    COMMANDS.append(command)
    build_parser.cache_clear()


def unregister_command(name: str) -> None:
    """Remove the command called ``name``."""
    COMMANDS[:] = [command for command in COMMANDS if command.name != name]
    build_parser.cache_clear()


def find_command(name: str) -> Command | None:
    """Return the command called ``name``, or None."""
    return next((command for command in COMMANDS if command.name == name), None)


def model_commands() -> list[Command]:
    """Return the commands that run a model."""
    return [command for command in COMMANDS if command.runs_model]


_EPILOG = """\b
Examples:
  llm ask "Why is the sky blue?"
  llm summarize --pull README.md
  git diff | llm ask "Write a commit message for this change."
  llm translate --to fr notes.txt > notes.fr.txt

Run "llm COMMAND --help" for the options of a command, and "llm help topics" for
the documentation.
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM_NAME} {__version__} (llmcli)")
        raise typer.Exit


def _root_command(
    context: typer.Context,
    _show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        from llmcli.cli.console import error_messages

        error_messages.write_stderr(context.obj[0], context.get_help())
        raise typer.Exit(2)


def _placeholder_command() -> None:
    """Stands in for a command that was not typed: only its name and its line of help are used."""
    from llmcli.errors import InternalError

    raise InternalError("command", detail="a command that was not typed was called")


def begins_with_command(argv: Sequence[str]) -> bool:
    """Return whether the first word is a command's name; the other commands are then not needed."""
    return bool(argv) and find_command(argv[0]) is not None


def first_word(argv: Sequence[str]) -> str:
    """Return the first argument that is not an option (the root's options take no values), "" without one."""
    return next((word for word in argv if not word.startswith("-")), "")


def command_path(argv: Sequence[str]) -> str:
    """Return the words of ``argv`` that name a command, "ask" or "models list"; "" if the first word names none."""
    word, *rest = [word for word in argv if not word.startswith("-")] or [""]
    command = find_command(word)
    if command is None:
        return ""
    names = {each.name for each in command.load().registered_commands} if command.group and rest else set()
    return f"{word} {rest[0]}" if rest and rest[0] in names else word


def build_app(word: str, *, alone: bool = False, completing: bool = False) -> typer.Typer:
    """Return the application with the command called ``word`` in full and the others by name.

    ``alone``: leave out the others, which cost 2 ms. ``completing``: set up Typer's support for shell completion.
    """
    app = typer.Typer(**TYPER_OPTIONS, add_completion=completing, context_settings=CONTEXT_SETTINGS)
    app.callback(
        invoke_without_command=True,
        help="Language work from the shell on your own machine.",
        epilog=_EPILOG,
    )(_root_command)
    for command in COMMANDS:
        if command.name != word:
            if not alone:
                app.command(command.name, help=command.help, short_help=command.help)(_placeholder_command)
        elif command.group:
            app.add_typer(command.load(), name=command.name)
        else:
            function = command.load()
            app.command(command.name, epilog=function.examples, context_settings=CONTEXT_SETTINGS)(function)
    return app


@functools.lru_cache(maxsize=64)
def build_parser(word: str, *, alone: bool = False, completing: bool = False) -> Any:
    """Return the parser that Typer makes of ``build_app``.

    It is kept for programs that call ``main`` more than once: building the parser of a group takes 20 ms.
    """
    return typer.main.get_command(build_app(word, alone=alone, completing=completing))
