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
from llmcli.cli.options import declaration_of, find_parameters
from llmcli.cli.parsing.parameters import Argument, CommandParameter, first_argument, option_of, parse_words
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
    raise _unknown_command(first, rest, words)


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


def _unknown_command(word: str, rest: Sequence[str], words: Sequence[str]) -> UsageError:
    """Return the error for a word that names no command; ``rest``: the other ``words`` of the line."""
    import difflib

    happened = f"no such command '{word}'"
    if command_registry.find_command(word) is not None:
        return UsageError("the command comes before its options", detail=f"Try: {format_command(word, *rest)}")
    if (translate := _FOREIGN_COMMANDS.get(word)) is not None:
        return UsageError(happened, detail=f"Try: {translate(rest)}")
    names = [command.name for command in command_registry.COMMANDS]
    similar = next(iter(difflib.get_close_matches(word, names, n=1)), None)
    if similar is not None and _takes_words(similar, rest):  # what is rain: it is no chat, which takes none
        return UsageError(f"{happened}. Did you mean '{similar}'?", detail=f"Try: {format_command(similar, *rest)}")
    return UsageError(happened, detail=f"Try: {format_command(_ASK, *words)}, or llm --help for the commands")


def subcommand_advice(words: Sequence[str]) -> str:
    """Return what to write for a subcommand of another program, or a file instead of one, as in ``index docs``.

    "" for other words.
    """
    if (translate := _FOREIGN_SUBCOMMANDS.get(" ".join(words[:2]))) is not None:
        return f"Try: {translate(words[2:])}"
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
    """Return a function that returns the command ``ours`` with the words typed, or ``default`` if it refuses them."""

    def translate(rest: Sequence[str]) -> str:
        words = [*ours.split(), *rest]
        usable = _can_parse(words) and (rest or not default)
        return format_command(*words) if usable else " ".join(filter(None, ["llm", ours, default]))

    return translate


def _can_parse(words: Sequence[str]) -> bool:
    """Return whether the words are a usual line of the command that they name."""
    path = command_registry.command_path(words)
    parameters = find_parameters(path)
    return bool(parameters) and parse_words(parameters, words[len(path.split()) :]) is not None


def _fixed(advice: str) -> Callable[[Sequence[str]], str]:
    return lambda _rest: advice


def _run_model(rest: Sequence[str]) -> str:
    """Return the command for ``run MODEL [QUESTION]``."""
    if rest and not rest[0].startswith("-"):
        model, *others = rest
        command = "chat" if first_argument(_ask_parameters(), others) is None else _ASK
        words = [command, "-m", model, *others]
        if _can_parse(words) and "--format" not in others:  # that of records
            return format_command(*words)
    return 'llm chat -m MODEL, or llm ask -m MODEL "QUESTION"'


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
    "embed-models": _fixed("llm models list"),
    "containers": _named("worker list"),
    "inspect": _named("models show", "MODEL"),
    "info": _fixed("llm doctor"),
    "rag": _fixed("llm index add DIRECTORY"),
    "login": _fixed("llm keys set NAME"),
    "signin": _fixed("llm keys set NAME"),
    "logout": _fixed("llm keys rm NAME"),
    "text": _fixed("echo TEXT | llm translate --to LANG"),
    "document": _fixed("llm translate --to LANG FILE -o FILE"),
    "plugins": _fixed("llm backends list for servers elsewhere; there are no plugins"),
}
"""The commands of ollama, simonw/llm and others, former commands, and other words that people type, with ours."""

_FOREIGN_SUBCOMMANDS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "logs on": _fixed("llm config set logs on"),
    "logs off": _fixed("llm config set logs off"),
    "logs status": _fixed("llm config show"),
    "keys get": _fixed("llm keys list"),
    "tm show": _named("tm list"),
    "tm clear": _named("tm rm --all"),
    "quiz stats": _named("quiz show", "DECK"),
}
"""The same for the commands of groups."""
