"""The table of commands, and the Typer application in which only the command that was typed is real.

``llm --help`` and a Tab press must not pay for other commands, so a command's module is imported only when its name
is the first word. The others stand in as stubs with their line of help.
"""

from __future__ import annotations

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
    among the commands here. Of a verb, which runs a model, ``model_task`` is the task of the catalogue by which a model
    is recommended for it, and ``overflow_advice`` says in the imperative what helps when its input does not fit the
    context; "" where nothing but a larger context does.
    """

    name: str
    help: str
    group: bool = False
    model_task: str = ""
    overflow_advice: str = SHORTEN_ADVICE
    module: str = ""

    @property
    def runs_model(self) -> bool:
        """Whether it is a verb."""
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
    Command("chat", "Talk with a model on the terminal.", model_task="chat"),
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
        overflow_advice="",  # its parts fit; it is the instructions, or the summaries, that do not
    ),
    Command("sentiment", "Label each line as positive, neutral or negative.", model_task="classify"),
    Command("generate", "Write an article, an email, a story, a poem, ...", model_task="chat"),
    Command("redact", "Show what would be replaced before texts are sent to a server."),
    Command("models", "Find, fetch, list and remove models.", group=True),
    Command("tm", "Look at what translations are remembered; exchange them with other tools.", group=True),
    Command("prompts", "Look at the prompts, and make your own.", group=True),
    Command("sessions", "Look at saved chats, search and remove them.", group=True),
    Command("worker", "See and stop the processes that keep models loaded.", group=True),
    Command("serve", "Serve your models to other programs, by OpenAI's protocol."),
    Command("config", "Look at the settings, and change them.", group=True),
    Command("doctor", "Say what this machine can run and what is wrong."),
    Command("completion", "Print the completion script for a shell."),
    Command("help", "Show the help of a command, or a page of the documentation."),
]


def register_command(command: Command) -> None:
    """Add a command. Raises ``ValueError`` if there is one of its name."""
    if find_command(command.name) is not None:
        raise ValueError(f"there is a command {command.name} already")
    COMMANDS.append(command)


def unregister_command(name: str) -> None:
    """Remove the command called ``name``."""
    COMMANDS[:] = [command for command in COMMANDS if command.name != name]


def find_command(name: str) -> Command | None:
    """Return the command called ``name``, None where there is none."""
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
    """Stand for a command that was not typed: only its name and its line of help are looked at."""
    from llmcli.errors import InternalError

    raise InternalError("command", detail="one that was not typed was called")


def begins_with_command(argv: Sequence[str]) -> bool:
    """Return whether the first word is a command's name: then no other command can be meant, nor their list."""
    return bool(argv) and find_command(argv[0]) is not None


def first_word(argv: Sequence[str]) -> str:
    """Return the first argument that is not an option (the root's options take no values), "" without one."""
    return next((word for word in argv if not word.startswith("-")), "")


def command_path(argv: Sequence[str]) -> str:
    """Return the words of ``argv`` that name a command, "ask" or "models list"; "" where the first one names none."""
    word, *rest = [word for word in argv if not word.startswith("-")] or [""]
    command = find_command(word)
    if command is None:
        return ""
    names = {each.name for each in command.load().registered_commands} if command.group and rest else set()
    return f"{word} {rest[0]}" if rest and rest[0] in names else word


def build_app(word: str, *, alone: bool = False, completing: bool = False) -> typer.Typer:
    """Return the application in which the command called ``word`` is registered in full, the others by name.

    ``alone``: without the others, which cost 2 ms. ``completing``: a shell asks what could come next, so Typer's support
    for that is set up.
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
