"""The table of commands.

``llm --help`` and a Tab press must not pay for other commands, so a command's module is imported only when its name is
the first word.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from llmcli.fast_dataclass import frozen
from llmcli.machine_needs import (
    CHAT,
    LABELS,
    QUESTION,
    READING,
    SERVER,
    SUMMARY,
    TRANSLATION,
    UNKNOWN_WORK,
    WRITING,
    MachineNeeds,
)

if TYPE_CHECKING:
    from llmcli.cli.parsing.parameters import CommandParameter

PROGRAM_NAME = "llm"
PURPOSE = "Language work from the shell on your own machine."
SHORTEN_ADVICE = "shorten the input"
ROOT_OPTIONS = ("-h", "--help", "-V", "--version")
"""How the options begin that the program has without a command."""
SYNONYMS = {"shell": "command"}
"""Other names of commands, which work and are not listed."""


class CommandArea(StrEnum):
    """What a command is about: the headings of ``llm --help``, in order."""

    LANGUAGE = "Language work"
    RECORDS = "Records"
    MODELS = "Models and servers"
    HOUSEKEEPING = "Housekeeping"


@frozen
class Command:
    """A line of the table.

    ``module`` has a function or a ``typer.Typer`` of the command's name (``-`` as ``_``); "" is the module of that name
    among the commands here. For a verb (a command that runs a model), ``model_task`` is the catalogue task that decides
    which models are recommended, and ``overflow_advice`` says in the imperative what to do when the input does not fit
    the context; "" if only a larger context helps. ``needs``: what it needs from the machine.

    ``area`` is its heading in ``llm --help``. A command that is not ``listed`` is shown by ``llm help --all`` alone;
    ``also`` names one of them behind the line of the command that it belongs to.
    """

    name: str
    help: str
    group: bool = False
    model_task: str = ""
    overflow_advice: str = SHORTEN_ADVICE
    module: str = ""
    needs: MachineNeeds = UNKNOWN_WORK
    area: CommandArea = CommandArea.LANGUAGE
    listed: bool = True
    also: str = ""

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
        overflow_advice='give the long text as a document (llm ask -f FILE "QUESTION")',  # which is searched
        needs=QUESTION,
        also="Indexes: llm index.",
    ),
    Command(
        "chat",
        "Chat with a model on the terminal.",
        model_task="chat",
        needs=CHAT,
        also="Saved chats: llm sessions.",
    ),
    Command(
        "translate",
        "Translate documents into another language.",
        model_task="translate",
        overflow_advice="shorten --context or the glossary",
        needs=TRANSLATION,
        also="Its memory: llm tm.",
    ),
    Command(
        "summarize",
        "Summarize documents of any length.",
        model_task="summarize",
        overflow_advice="",  # its parts fit; only the instructions or the summaries may not
        needs=SUMMARY,
    ),
    Command(
        "extract",
        "Take the values of a schema out of documents.",
        model_task="summarize",
        overflow_advice="give fewer or shorter --examples, or a smaller --schema",
        needs=WRITING,
    ),
    Command("generate", "Write an email, a story, ..., or a report of any length.", model_task="chat", needs=WRITING),
    Command(
        "check",
        "Check each sentence of a text against documents.",
        model_task="classify",
        needs=READING,
        also="Runs: llm verify.",
    ),
    Command("verify", "Check that an output and what it was made of are unchanged.", listed=False),
    Command(
        "proofread",
        "List the words that look wrong, by how much they surprise the model.",
        model_task="chat",
        needs=READING,
        overflow_advice="",
        listed=False,
    ),
    Command("quiz", "Make questions about your own documents, and learn by them.", group=True),
    Command(
        "command",
        "Write a shell command for a task. It is printed, never run.",
        model_task="chat",
        needs=WRITING,
        listed=False,
    ),
    Command("tokens", "Count the tokens of texts, files or records.", model_task="classify", listed=False),
    Command("redact", "Show what would be replaced before text is sent to a server.", listed=False),
    Command("index", "Index directories of documents, for llm ask and for search.", group=True, listed=False),
    Command("tm", "Show, export, import and clear the translation memory.", group=True, listed=False),
    Command(
        "sentiment",
        "Label each line or record as positive, neutral or negative.",
        model_task="classify",
        needs=LABELS,
        area=CommandArea.RECORDS,
    ),
    Command(
        "classify",
        "Give each line or record one of your labels, with probabilities.",
        model_task="classify",
        needs=LABELS,
        area=CommandArea.RECORDS,
    ),
    Command(
        "filter",
        "Print the records for which a statement holds.",
        model_task="classify",
        needs=LABELS,
        area=CommandArea.RECORDS,
        also="Bias: llm audit.",
    ),
    Command(
        "label",
        "Ask you for the labels that teach most.",
        model_task="classify",
        needs=LABELS,
        area=CommandArea.RECORDS,
        also="Results: llm calibrations.",
    ),
    Command(
        "audit",
        "Check whether labels and answers change with the people in a text.",
        group=True,
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "calibrations",
        "List, show and remove calibrations of classify, sentiment and filter.",
        group=True,
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "records",
        "Merge the outputs of --shard: a job on several machines.",
        group=True,
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "run-batch",
        "Answer the requests of a file in OpenAI's batch format.",
        model_task="chat",
        overflow_advice="shorten the request",
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "embed",
        "Turn lines, records or files into vectors.",
        model_task="classify",
        needs=READING,
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "similar",
        "Find the lines, records or files that are nearest to a text in meaning.",
        model_task="classify",
        needs=READING,
        area=CommandArea.RECORDS,
        listed=False,
    ),
    Command(
        "models",
        "Find, download, list and remove models.",
        group=True,
        area=CommandArea.MODELS,
        also="The engine: llm engine.",
    ),
    Command(
        "engine",
        "List, install, choose and check the builds of llama.cpp, which runs models.",
        group=True,
        area=CommandArea.MODELS,
        listed=False,
    ),
    Command(
        "backends",
        "List, add, test and remove remote servers.",
        group=True,
        area=CommandArea.MODELS,
        also="Their keys: llm keys.",
    ),
    Command("keys", "Store the keys of hosted models.", group=True, area=CommandArea.MODELS, listed=False),
    Command("serve", "Serve your models over OpenAI's or Anthropic's protocol.", needs=SERVER, area=CommandArea.MODELS),
    Command(
        "worker",
        "List, stop and restart the processes that keep models loaded.",
        group=True,
        area=CommandArea.MODELS,
        listed=False,
    ),
    Command(
        "sessions",
        "List, show, search, export, fork and remove saved chats.",
        group=True,
        area=CommandArea.HOUSEKEEPING,
        listed=False,
    ),
    Command(
        "logs",
        "List, show, search, export, repeat and remove kept answers.",
        group=True,
        needs=WRITING,
        area=CommandArea.HOUSEKEEPING,
        listed=False,
    ),
    Command("prompts", "List, show, edit and check prompts.", group=True, area=CommandArea.HOUSEKEEPING, listed=False),
    Command("config", "Show and edit the settings.", group=True, area=CommandArea.HOUSEKEEPING),
    Command("doctor", "Report what this machine can run and what is wrong.", area=CommandArea.HOUSEKEEPING),
    Command("completion", "Print the completion script for a shell.", area=CommandArea.HOUSEKEEPING, listed=False),
    Command(
        "help",
        "Show the help of a command, or a page of the documentation.",
        area=CommandArea.HOUSEKEEPING,
        listed=False,
    ),
]


def machine_needs_of(name: str) -> MachineNeeds:
    """Return what a command needs from the machine."""
    command = find_command(name)
    return UNKNOWN_WORK if command is None else command.needs


def register_command(command: Command) -> None:
    """Add a command. Raises ``ValueError`` if the name is taken."""
    if find_command(command.name) is not None:
        raise ValueError(f"the command {command.name} already exists")
    COMMANDS.append(command)


def unregister_command(name: str) -> None:
    """Remove the command called ``name``."""
    COMMANDS[:] = [command for command in COMMANDS if command.name != name]


def find_command(name: str) -> Command | None:
    """Return the command called ``name``, by its name or a synonym, or None."""
    known = SYNONYMS.get(name, name)
    return next((command for command in COMMANDS if command.name == known), None)


def model_commands() -> list[Command]:
    """Return the commands that run a model."""
    return [command for command in COMMANDS if command.runs_model]


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


def find_parameters(path: str) -> Sequence[CommandParameter]:
    """Return the parameters of the command that words such as "ask" or "quiz make" name; none if they name none."""
    word, _, rest = path.partition(" ")
    command = find_command(word)
    if command is None or command.group != bool(rest):
        return ()
    function = command.load()
    if command.group:
        function = next((each.callback for each in function.registered_commands if each.name == rest), None)
    return () if function is None else cast("Sequence[CommandParameter]", function.parameters)
