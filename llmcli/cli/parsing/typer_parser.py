"""The Typer application, in which only the typed command is complete; the others are stubs with a line of help.

Typer gives help, completion and the messages about unusable command lines. It parses the groups of commands, and what
``command_line`` leaves to it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from llmcli import __version__
from llmcli.cli.command_registry import COMMANDS, PROGRAM_NAME, PURPOSE, SYNONYMS, ListedCommand
from llmcli.cli.options import declaration_of
from llmcli.cli.parsing.parameters import (
    HELP_ALL,
    Argument,
    CommandParameter,
    Completer,
    Option,
    OptionSection,
    require_usable_number,
)

TYPER_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,  # importing rich costs 50 ms
    "pretty_exceptions_enable": False,
}
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
COMPLETE_HELP_SETTINGS = {"help_option_names": ["-h", "--help", "--help-all"]}
"""For commands whose ``--help`` shows everything: a parameter of its own for ``--help-all`` costs time in large
groups."""
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


class HelpfulCommand(TyperCommand):
    """A command whose help is laid out by ``help_text``."""

    def get_help(self, ctx: Any, *, complete: bool = False) -> str:
        from llmcli.cli.parsing.help_text import command_help, help_columns

        complete = complete or not any(param.name == HELP_ALL for param in self.params)
        return command_help(self, ctx.command_path, help_columns(ctx.obj[0]), complete=complete)


class HelpfulGroup(TyperGroup):
    """A group of commands whose help is laid out by ``help_text``."""

    def get_help(self, ctx: Any) -> str:
        from llmcli.cli.parsing.help_text import group_help, help_columns

        return group_help(self, ctx.command_path, help_columns(ctx.obj[0]))


class ProgramGroup(TyperGroup):
    """The program, whose help is laid out by ``help_text``."""

    def get_help(self, ctx: Any, *, complete: bool = False) -> str:
        from llmcli.cli.parsing.help_text import help_columns, program_help

        return program_help(help_columns(ctx.obj[0]), complete=complete)


def _show_all_help(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        parser: Any = ctx.command
        typer.echo(parser.get_help(ctx, complete=True))
        raise typer.Exit


_HelpAllOption = Annotated[
    bool, typer.Option("--help-all", help="Show all options.", callback=_show_all_help, is_eager=True)
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM_NAME} {__version__} (llmcli)")
        raise typer.Exit


def _root_command(
    context: typer.Context,
    _show_version: Annotated[
        bool, typer.Option("-V", "--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    help_all: _HelpAllOption = False,  # noqa: ARG001 (its callback shows the help)
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _placeholder_command() -> None:
    """Stands in for a command that was not typed: only its name and its line of help are used."""
    from llmcli.errors import InternalError

    raise InternalError("command", detail="a command that was not typed was called")


def build_app(word: str, *, alone: bool, completing: bool) -> typer.Typer:
    """Return the application with the command called ``word`` in full and the others by name.

    ``alone``: leave out the others, which cost 2 ms. ``completing``: set up Typer's support for shell completion.
    """
    app = typer.Typer(**TYPER_OPTIONS, cls=ProgramGroup, add_completion=completing, context_settings=CONTEXT_SETTINGS)
    app.callback(invoke_without_command=True, help=PURPOSE)(_root_command)
    for command in COMMANDS:
        if command.name != SYNONYMS.get(word, word):
            if not alone:
                app.command(command.name, help=command.help, short_help=command.help)(_placeholder_command)
        elif command.is_group:
            app.add_typer(command.load(), name=command.name)
        else:
            add_command(app, word, command.load(), hidden=word != command.name)
    return app


def build_parser(word: str, *, alone: bool = False, completing: bool = False) -> Any:
    """Return the parser that Typer makes of ``build_app``.

    It is kept for programs that call ``main`` more than once: building the parser of a group takes 20 ms.
    """
    return _cached_parser(tuple(COMMANDS), word, alone, completing)


@functools.lru_cache(maxsize=64)
def _cached_parser(_commands: tuple[ListedCommand, ...], word: str, alone: bool, completing: bool) -> Any:
    return typer.main.get_command(build_app(word, alone=alone, completing=completing))


def build_command_parser(command: ListedCommand) -> Any:
    """Return the parser of a single command that completes a line in which its name is left out."""
    app = typer.Typer(**TYPER_OPTIONS, add_completion=True, context_settings=CONTEXT_SETTINGS)
    add_command(app, command.name, command.load())
    return typer.main.get_command(app)


def add_command(app: typer.Typer, name: str, function: Any, **options: Any) -> None:
    """Add a function made by ``@command`` to a Typer application, with more ``options`` of Typer's."""
    declared = (parameter.declaration for parameter in declaration_of(function).parameters)
    abridged = any(isinstance(each, Option) and each.section is OptionSection.ENGINE for each in declared)
    settings = CONTEXT_SETTINGS if abridged else COMPLETE_HELP_SETTINGS
    decorate = app.command(name, cls=HelpfulCommand, context_settings=settings, **options)
    decorate(_with_typer_signature(function, abridged=abridged))


def _with_typer_signature(function: Any, *, abridged: bool) -> Callable[..., int]:
    """Return the command with a signature of Typer's declarations, and ``--help-all`` if its help is ``abridged``."""

    @functools.wraps(function)
    def typer_command(**given: Any) -> int:
        given.pop(HELP_ALL, None)  # its callback has shown the help
        code: int = function(**given)
        return code

    parameters = [_typer_parameter(parameter) for parameter in declaration_of(function).parameters]
    if abridged:
        parameters.append(inspect.Parameter(HELP_ALL, _KEYWORD_ONLY, default=False, annotation=_HelpAllOption))
    parameters.append(inspect.Parameter("invocation", _KEYWORD_ONLY, annotation=typer.Context))
    typer_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a function may have one: PEP 362
    typer_command.__annotations__ = {each.name: each.annotation for each in parameters}
    return typer_command


def _typer_parameter(parameter: CommandParameter) -> inspect.Parameter:
    default = inspect.Parameter.empty if parameter.default is ... else parameter.default
    declaration, *marks = parameter.annotation.__metadata__
    annotation: Any = Annotated[(parameter.value_type, _typer_declaration(declaration), *marks)]
    return inspect.Parameter(parameter.name, _KEYWORD_ONLY, default=default, annotation=annotation)


def _typer_declaration(declaration: Any) -> Any:
    if not isinstance(declaration, Option | Argument):
        return declaration
    keywords = {**declaration.keywords, "autocompletion": _typer_completer(declaration.keywords["autocompletion"])}
    if isinstance(declaration, Argument):
        return typer.Argument(**keywords, callback=_typer_callback(None))
    return typer.Option(*declaration.names, **keywords, callback=_typer_callback(declaration.callback))


def _typer_completer(completer: Completer | None) -> Callable[[typer.Context, str], Any] | None:
    """Return a completer with annotations that tell Typer what to pass: the context, and the word so far."""
    if completer is None:
        return None

    def typer_completer(ctx: typer.Context, incomplete: str) -> Any:
        from llmcli.cli import completers

        offer = getattr(completers, completer) if isinstance(completer, str) else completer
        given, wanted = {"ctx": ctx, "incomplete": incomplete}, inspect.signature(offer).parameters
        return offer(**{name: given[name] for name in wanted})

    return typer_completer


def _typer_callback(callback: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Return a callback that reports an unusable value in Typer's way."""

    def typer_callback(value: Any) -> Any:
        try:
            require_usable_number(value)
            return value if callback is None else callback(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return typer_callback
