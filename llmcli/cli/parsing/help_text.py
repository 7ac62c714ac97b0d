"""The text of ``--help``: for a command, for a group of commands, and for ``llm`` itself.

Typer's formatter has one list of options and no narrow terminals, and its list of commands has no groups; so the
layout is ours. ``--help`` has at most ``MAX_LINES`` lines: what does not fit is left to ``--help-all``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from llmcli.cli.command_registry import COMMANDS, PROGRAM_NAME, PURPOSE, CommandArea, ListedCommand
from llmcli.cli.console.environment import Environment
from llmcli.cli.console.wrapping import display_width, wrap_words
from llmcli.cli.parsing.parameters import HELP_ALL, Option, OptionSection

MAX_LINES = 40
_MAX_COLUMNS = 100
"""Longer lines are hard to read."""

_INDENT = "  "
_MIN_EXAMPLES = 2
_SHELL_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_PROGRAM_OPTIONS = (
    ("-V, --version", "Show the version and exit."),
    ("-h, --help", "Show the commands that are used most."),
    ("--help-all", "Show all commands."),
)
PROGRAM_EXAMPLES = (
    'llm ask "Why is the sky blue?"',
    "llm summarize --pull README.md",
    'git diff | llm ask "Write a commit message for this change."',
    "llm translate --to fr notes.txt > notes.fr.txt",
)


def help_columns(environment: Environment) -> int:
    """Return how many columns of standard output help uses."""
    return min(environment.columns(environment.stdout), _MAX_COLUMNS)


# ---- what a command declares ---------------------------------------------------------------------------------------


def options_by_section(
    params: Sequence[Any], parameters: Sequence[Any], *, rare: bool = True
) -> dict[OptionSection, Any]:
    """Return parameters of Typer's by heading, in the order of the headings; arguments are among the command's own.

    ``parameters`` are what the command declares; without ``rare``, only the options that ``--help`` shows.
    """
    declared = {each.name: each.declaration for each in parameters}
    found: dict[OptionSection, list[Any]] = {section: [] for section in OptionSection}
    for param in params:
        option = declared.get(param.name)
        if (
            param.name != HELP_ALL
            and not getattr(param, "hidden", False)
            and (rare or not getattr(option, "is_rare", False))
        ):
            found[option.section if isinstance(option, Option) else OptionSection.OWN].append(param)
    return {section: listed for section, listed in found.items() if listed}


def declared_parameters(parser: Any) -> Sequence[Any]:
    """Return what the command of a parser of Typer's declares."""
    declaration = getattr(parser.callback, "declaration", None)
    return () if declaration is None else cast("Sequence[Any]", declaration.parameters)


def usage_words(parser: Any) -> list[str]:
    """Return the words after a command's name in its usage."""
    arguments = [param for param in parser.params if param.param_type_name == "argument"]
    return ["[OPTIONS]", *map(format_metavar, arguments)]


def list_examples(parser: Any) -> list[str]:
    """Return the lines of shell code at the end of a command's help."""
    declaration = getattr(parser.callback, "declaration", None)
    return [] if declaration is None else inspect.cleandoc(declaration.examples).splitlines()


def is_switch(param: Any) -> bool:
    """Return whether an option takes no value."""
    return bool(getattr(param, "is_flag", False))


def format_metavar(param: Any) -> str:
    """Return what stands for the value of an option or argument."""
    if param.metavar:
        return str(param.metavar)
    choices = getattr(param.type, "choices", None)
    return "|".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else str(param.name).upper()


def format_option(param: Any) -> str:
    """Return the names and the value of an option, or the argument."""
    names = ", ".join(param.opts) if param.param_type_name == "option" else ""
    value = "" if is_switch(param) else format_metavar(param)
    return " ".join(part for part in (names, value) if part)


# ---- a command -----------------------------------------------------------------------------------------------------


def command_help(parser: Any, path: str, columns: int, *, complete: bool) -> str:
    """Return the help of one command, called ``path``, on lines of at most ``columns`` columns.

    ``complete``: everything. Otherwise everything if that fits ``MAX_LINES``, else what people need every day: first
    the rare options are left out, then the paragraphs after the first one, then empty lines and examples.
    """
    summary, *details = _paragraphs(parser.help)
    head = [*_usage(path, usage_words(parser), columns), "", *_indented(summary, columns)]
    text = [line for each in details for line in ("", *_indented(each, columns))]
    code = [[*_wrap_code(each, columns)] for each in list_examples(parser)]
    whole = _join_blocks([head + text, *_option_blocks(parser, columns, rare=True), *_example_block(code)], gap=[""])
    if complete or len(whole) <= MAX_LINES:
        return "\n".join(whole)
    more = wrap_words(f"All options: {path} --help-all", columns)
    options = _option_blocks(parser, columns, rare=False)
    for beginning, gap in ((head + text, [""]), (head, [""]), (head, [])):
        needed = len(_join_blocks([beginning, *options, *_example_block([[]]), more], gap))
        shown = [*code]
        while len(shown) > _MIN_EXAMPLES and needed + sum(map(len, shown)) > MAX_LINES:
            del shown[-1]
        lines = _join_blocks([beginning, *options, *_example_block(shown), more], gap)
        if len(lines) <= MAX_LINES:
            break
    return "\n".join(lines)


def _option_blocks(parser: Any, columns: int, *, rare: bool) -> list[list[str]]:
    """Return the lines of the options, a block for each heading."""
    sections = options_by_section(parser.params, declared_parameters(parser), rare=rare)
    rows = {section: [(format_option(each), _meaning(each)) for each in listed] for section, listed in sections.items()}
    names = _names_width((name for listed in rows.values() for name, _ in listed), columns)
    return [[f"{section}:", *_table(listed, names, columns)] for section, listed in rows.items()]


def _example_block(code: Sequence[Sequence[str]]) -> list[list[str]]:
    return [["Examples:", *(line for lines in code for line in lines)]] if code else []


def _join_blocks(blocks: Sequence[Sequence[str]], gap: Sequence[str]) -> list[str]:
    """Return the lines of the blocks with ``gap`` between them; after the first one there always is an empty line."""
    first, *others = blocks
    return [*first, *(line for index, each in enumerate(others) for line in (*(gap if index else [""]), *each))]


def _meaning(param: Any) -> str:
    """Return the explanation of an option, with the default of a choice."""
    text = param.help or ""
    default = getattr(param.default, "value", None)
    return text if default is None or "default" in text else f"{text.removesuffix('.')} (default: {default})."


# ---- several commands ----------------------------------------------------------------------------------------------


def group_help(parser: Any, path: str, columns: int) -> str:
    """Return the help of a group: its commands, each with its line."""
    rows = [(name, each.short_help) for name, each in parser.commands.items() if not each.hidden]
    lines = _usage(path, ["COMMAND", "[OPTIONS]", "[ARGUMENTS]..."], columns)
    lines += [line for each in _paragraphs(parser.help) for line in ("", *_indented(each, columns))]
    lines += ["", "Commands:", *_table(rows, _names_width((name for name, _ in rows), columns), columns)]
    return "\n".join([*lines, "", *wrap_words(f"Options of a command: {path} COMMAND --help", columns)])


def program_help(columns: int, *, complete: bool) -> str:
    """Return the help of ``llm``, which fits 80 columns and 23 lines; ``complete``: with all commands, and examples."""
    shown = [command for command in COMMANDS if complete or command.listed]
    options = _PROGRAM_OPTIONS if complete else ()
    names = _names_width([*(command.name for command in shown), *(name for name, _ in options)], columns)
    lines = _usage(PROGRAM_NAME, ["COMMAND", "[OPTIONS]", "[ARGUMENTS]...", "or", PROGRAM_NAME, '"QUESTION"'], columns)
    if complete:
        lines += ["", *_indented(PURPOSE, columns), "", "Options:", *_table(options, names, columns)]
    for area in CommandArea:
        rows = [(command.name, _line(command, complete=complete)) for command in shown if command.area is area]
        lines += [*([""] if complete else []), f"{area}:", *_table(rows, names, columns)]
    if complete:
        lines += ["", "Examples:", *(line for each in PROGRAM_EXAMPLES for line in _wrap_code(each, columns)), ""]
    others = "" if complete else "llm help --all (all commands), "
    return "\n".join([*lines, *wrap_words(f"More: llm COMMAND --help, {others}llm help topics.", columns)])


def _line(command: ListedCommand, *, complete: bool) -> str:
    return command.help if complete or not command.also else f"{command.help} {command.also}"


# ---- lines ---------------------------------------------------------------------------------------------------------


def _usage(path: str, words: Sequence[str], columns: int) -> list[str]:
    return _hanging(f"Usage: {path} ", " ".join(words), columns, len(_INDENT))


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text.strip())


def _indented(text: str, columns: int) -> list[str]:
    return [_INDENT + line for line in wrap_words(text, columns - len(_INDENT), break_words=False)]


def _names_width(names: Iterable[str], columns: int) -> int:
    """Return the width of the first column of a table: the longest name that leaves most of the line to its meaning."""
    widest = columns * 3 // 10
    return max((width for name in names if (width := display_width(name)) <= widest), default=widest)


def _table(rows: Iterable[tuple[str, str]], names: int, columns: int) -> Iterator[str]:
    """Yield names with their meanings beside them.

    A longer name has its meaning behind it, or below if that is long.
    """
    start = len(_INDENT) + names + 2
    for name, meaning in rows:
        head = f"{_INDENT}{name}  "
        if len(head) > start and display_width(head + meaning) > columns:
            yield from _long_name(name, columns)
            head = ""
        yield from _hanging(head.ljust(start), meaning, columns, start)


def _long_name(name: str, columns: int) -> list[str]:
    """Return a long name on lines of its own, broken between its words and its choices if necessary."""
    words = name if len(_INDENT + name) <= columns else name.replace("|", "| ")
    return [line.replace("| ", "|") for line in _hanging(_INDENT, words, columns, 2 * len(_INDENT))]


def _hanging(head: str, text: str, columns: int, indent: int) -> list[str]:
    """Return ``text`` behind ``head``, wrapped at words; the lines after the first are indented."""
    first, *_ = wrap_words(text, max(columns - display_width(head), 1), break_words=False)
    rest = text.split()[len(first.split()) :]
    more = wrap_words(" ".join(rest), columns - indent, break_words=False) if rest else []
    return [(head + first).rstrip(), *(" " * indent + line for line in more)]


def _wrap_code(code: str, columns: int) -> Iterator[str]:
    """Yield a shell command, continued on more lines by a backslash between its words if it is too long."""
    line = _INDENT
    for word in _SHELL_WORD.findall(code):
        if line.strip() and len(line) + len(word) + len(" \\") > columns and len(_INDENT + code) > columns:
            yield f"{line.rstrip()} \\"
            line = 2 * _INDENT
        line += f"{word} "
    yield line.rstrip()
