"""The command that a command line means without naming it, and the names that other programs have for a command.

``llm "What is a goroutine?"`` and ``llm -m MODEL "What is ...?"`` ask, ``llm models`` lists. What may be a mistyped
name is refused instead: a typing error in a cron job must not run a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llmcli.cli import command_registry
from llmcli.cli.command_registry import ListedCommand
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.options import declaration_of
from llmcli.cli.parsing.parameters import Argument, CommandParameter, first_argument, option_of
from llmcli.errors import UsageError

_ASK = "ask"
LIST = "list"
_FILE_METAVARS = {"FILE", "DIRECTORY", "PATH", "NAME|FILE"}
_MIN_QUESTION_WORDS = 2
"""Words in the first argument that make it a question: one may be a mistyped command."""


def complete_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the command that they mean.

    Words that name a command, and those that only the root's own parser understands, stay as they are. Raises
    ``UsageError``, with the command to type, if they name none.
    """
    if not words:
        return []
    command = command_registry.find_command(words[0])
    if command is not None:
        return _complete_group(command, words) if command.is_group else [command.name, *words[1:]]
    if words[0].startswith("-") and words[0] not in ("-", "--") and not begins_with_ask_option(words):
        return [*words]  # no option that the program knows here
    first = first_argument(_ask_parameters(), words)
    if first is None or first == "-" or len(first.split()) >= _MIN_QUESTION_WORDS:  # -: standard input
        return [_ASK, *words]
    rest = [*words]
    rest.remove(first)
    raise _unknown_command(first, rest)


def begins_with_ask_option(words: Sequence[str]) -> bool:
    """Return whether the first word is an option of ``llm ask``, alone or with its value."""
    return option_of(_ask_parameters(), words[0]) is not None


def ask_command() -> ListedCommand:
    """Return the command that answers questions."""
    command = command_registry.find_command(_ASK)
    assert command is not None
    return command


def _ask_parameters() -> Sequence[CommandParameter]:
    parameters: Sequence[CommandParameter] = declaration_of(ask_command().load()).parameters
    return parameters


def _complete_group(group: ListedCommand, words: Sequence[str]) -> list[str]:
    """Return the words with the subcommand ``list`` if the group has one and no subcommand is named."""
    following = words[1:2]
    names = following and (not following[0].startswith("-") or following[0].startswith(command_registry.ROOT_OPTIONS))
    if names or LIST not in {each.name for each in group.load().registered_commands}:
        return [*words]
    return [group.name, LIST, *words[1:]]


def _unknown_command(word: str, rest: Sequence[str]) -> UsageError:
    """Return the error for a word that names no command; ``rest``: the other words of the line."""
    import difflib

    happened = f"no such command '{word}'"
    if command_registry.find_command(word) is not None:
        return UsageError("the command comes before its options", detail=f"Try: {format_command(word, *rest)}")
    if "-o" in rest and word.replace(".", "", 1).isdecimal():  # -o temperature 0
        return UsageError("-o is the file for the answer", detail=_MODEL_OPTION_ADVICE)
    if (translate := _FOREIGN_COMMANDS.get(word)) is not None:
        return UsageError(happened, detail=f"Try: {translate(rest)}")
    names = [command.name for command in command_registry.COMMANDS]
    similar = next(iter(difflib.get_close_matches(word, names, n=1)), None)
    if similar is not None and _takes_words(similar, rest):  # what is rain: it is no chat, which takes none
        return UsageError(f"{happened}. Did you mean '{similar}'?", detail=f"Try: {format_command(similar, *rest)}")
    return UsageError(happened, detail=f"Try: {format_command(_ASK, word, *rest)}, or llm --help for the commands")


def subcommand_for_file(words: Sequence[str]) -> str:
    """Return what to write where a file stands instead of a subcommand, as in ``index docs``; "" if none does."""
    group = command_registry.find_command(words[0]) if words else None
    if group is None or not group.is_group or len(words) < 2 or not Path(words[1]).exists():  # noqa: PLR2004 (group, file)
        return ""
    for subcommand in group.load().registered_commands:
        declared = [parameter.declaration for parameter in declaration_of(subcommand.callback).parameters]
        first = next((each.keywords["metavar"] for each in declared if isinstance(each, Argument)), "")
        if first.strip("[].") in _FILE_METAVARS:
            return f"Try: {format_command(group.name, subcommand.name, *words[1:])}"
    return ""


def _takes_words(name: str, words: Sequence[str]) -> bool:
    """Return whether ``words`` have no arguments, or the command takes some."""
    command = command_registry.find_command(name)
    assert command is not None
    if command.is_group:
        return True
    parameters: Sequence[CommandParameter] = declaration_of(command.load()).parameters
    takes_arguments = any(isinstance(each.declaration, Argument) for each in parameters)
    return takes_arguments or first_argument(parameters, words) is None


# ---- the names of other programs -------------------------------------------------------------------------------------


def _named(ours: str, default: str = "") -> Callable[[Sequence[str]], str]:
    """Return a function that returns the command ``ours`` with the words typed, ``default`` if there are none."""
    return lambda rest: " ".join([format_command(*ours.split(), *rest), *([] if rest or not default else [default])])


def _fixed(advice: str) -> Callable[[Sequence[str]], str]:
    return lambda _rest: advice


def _run_model(rest: Sequence[str]) -> str:
    """Return the command for ``run MODEL [QUESTION]``."""
    if not rest:
        return 'llm chat -m MODEL, or llm ask -m MODEL "QUESTION"'
    model, *question = rest
    return format_command(_ASK, "-m", model, *question) if question else format_command("chat", "-m", model)


def _merge_parts(rest: Sequence[str]) -> str:
    """Return the command for ``records merge PART...``, its name in earlier releases."""
    return _named("merge", "PART...")(rest[1:] if rest[:1] == ["merge"] else rest)


_FOREIGN_COMMANDS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "prompt": _named("ask", '"QUESTION"'),
    "cite": _fixed('llm ask --cite -f DIRECTORY "QUESTION"'),
    "version": _fixed("llm --version"),
    "run": _run_model,
    "pull": _named("models pull", "MODEL"),
    "list": _named("models list"),
    "ls": _named("models list"),
    "ps": _named("worker list"),
    "rm": _named("models rm", "MODEL"),
    "show": _named("models show", "MODEL"),
    "cp": _fixed("llm models alias NAME MODEL"),
    "create": _fixed("llm models import FILE for a model, or llm prompts new NAME for instructions"),
    "stop": _named("worker stop"),
    "search": _fixed("llm models search WORDS, llm index search, llm sessions search, or llm logs search"),
    "aliases": _fixed("llm models alias"),
    "collections": _fixed("llm index list"),
    "embed-multi": _named("embed", "FILE"),
    "templates": _named("prompts", "list"),
    "schemas": _fixed("llm ask --schema SCHEMA"),
    "fragments": _fixed("llm ask -f FILE"),
    "install": _fixed("llm models pull MODEL for a model, or llm backends add for a server; there are no plugins"),
    "uninstall": _fixed("llm models rm MODEL for a model, or llm backends rm NAME for a server; there are no plugins"),
    "records": _merge_parts,
    "plugins": _fixed("llm backends list for servers elsewhere; there are no plugins"),
}
"""The commands of ollama and of simonw/llm, former commands, and other words that people type, with their names here."""

_MODEL_OPTION_ADVICE = "An option of the model has its own name: --temperature 0, --seed 7, --max-tokens 100"
_KEPT_ADVICE = "Leave it out: answers are kept only after llm config set logs on"

_FOREIGN_OPTIONS = {
    "-t": "A template is a prompt here: llm ask -p NAME (all of them: llm prompts list)",
    "-a": "An attachment is a file here: llm ask -f FILE",
    "--attachment": "An attachment is a file here: llm ask -f FILE",
    "--fragment": "A fragment is a file here: llm ask -f FILE",
    "-c": "Give both questions the same --session NAME; --continue goes on with the chat used last",
    "--cid": "A conversation has a name here: --session NAME",
    "--param": "Try: llm ask -p NAME --var NAME=VALUE",
    "-u": "Try: --stats",
    "--usage": "Try: --stats",
    "--think": "Try: --reasoning",
    "-o": _MODEL_OPTION_ADVICE,
    "--save": "A template is a prompt here: llm prompts new NAME, then llm ask -p NAME",
    "--schema-multi": "Try: llm extract --many --schema SCHEMA FILE, or the type list: --schema 'names list'",
    "--key": "A key is stored: llm keys set NAME, or named by its variable: --key-env VARIABLE",
    "-n": _KEPT_ADVICE,
    "--no-log": _KEPT_ADVICE,
    "--no-stream": "Leave it out: in a pipe, only the answer is written",
    "--keepalive": "Try: llm config set worker.idle_timeout SECONDS",
}
"""What the options of ollama and of simonw/llm are here."""


def foreign_option_advice(option: str, words: Sequence[str]) -> str:
    """Return what to write for an option of another program in the line ``words``; "" if it is none."""
    asks = not words or words[0].startswith("-") or words[0] in (_ASK, "chat")
    if not asks and option in ("-f", "--file") and _takes_files(words[0]):
        return f"A file is an argument here: llm {words[0]} FILE"
    return _FOREIGN_OPTIONS.get(option, "") if asks else ""


def _takes_files(name: str) -> bool:
    """Return whether a command takes files as arguments."""
    command = command_registry.find_command(name)
    if command is None or command.is_group:
        return False
    declared = [parameter.declaration for parameter in declaration_of(command.load()).parameters]
    return any(isinstance(each, Argument) and "FILE" in each.keywords["metavar"] for each in declared)
