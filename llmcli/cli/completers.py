"""What a Tab press offers for a value: names of models, prompts, languages, settings.

Typer calls these with its context and the word so far, and keeps what begins with that word. A Tab press must be as
quick as ``llm --help`` and must never fail: nothing heavy is imported, no file but the configuration is parsed, and
where something is broken nothing is offered (the command itself will say why).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

from llmcli.errors import LlmError

if TYPE_CHECKING:
    from llmcli.models.library import Library

Offers = list[str | tuple[str, str]]
"""Words, or pairs of a word and its explanation."""
_EXPLAINED = 60
"""Characters of an explanation that somebody wrote."""


def _offers(find: Callable[[typer.Context], Iterable[str | tuple[str, str]]]) -> Callable[[typer.Context], Offers]:
    """Offer nothing where ``find`` fails."""

    @functools.wraps(find)
    def offer(ctx: typer.Context) -> Offers:
        try:
            return list(find(ctx))
        except (LlmError, OSError):
            return []

    return offer


@_offers
def models(ctx: typer.Context) -> Iterable[str]:
    """Names that ``-m`` takes."""
    return _library(ctx).names()


def _library(ctx: typer.Context) -> Library:
    from llmcli.models.library import Library
    from llmcli.settings import find_paths, resolve

    environ = ctx.find_root().obj[0].environ
    paths = find_paths(environ)
    return Library(resolve({}, environ, paths.config_file), paths, environ)


@_offers
def aliases(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Aliases, explained by what they stand for."""
    return ((alias.name, alias.model) for alias in _library(ctx).choices.aliases())


@_offers
def elsewhere(ctx: typer.Context) -> Iterable[str]:
    """Models of the program that ``--from`` named; without it a file is meant, which the shell completes."""
    from llmcli.models.folders import PROGRAMS, find_foreign

    program = ctx.params.get("program")
    if program not in PROGRAMS:
        return ()
    return (model.name for model in find_foreign(program, ctx.find_root().obj[0].environ) if model.lost is None)


@_offers
def prompts(ctx: typer.Context) -> Iterable[str]:
    """Names of prompt files."""
    return _prompts(ctx, "")


@_offers
def kinds(ctx: typer.Context) -> Iterable[str]:
    """Kinds of text that ``llm generate`` writes."""
    from llmcli.templates.contracts import GENERATE

    return (name.removeprefix(GENERATE) for name in _prompts(ctx, GENERATE))


def _prompts(ctx: typer.Context, prefix: str) -> list[str]:
    from llmcli.settings import find_paths
    from llmcli.templates import Library

    return Library(find_paths(ctx.find_root().obj[0].environ).prompts).names(prefix)


@_offers
def sessions(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of saved chats, explained by how they began."""
    from llmcli.cli.sanitize import line
    from llmcli.settings import find_paths
    from llmcli.store.sessions import Sessions

    with Sessions(find_paths(ctx.find_root().obj[0].environ).sessions, looks=True) as store:
        return [(each.session.name, line(each.first[:_EXPLAINED])) for each in store.list()]


@_offers
def workers(ctx: typer.Context) -> Iterable[str]:
    """Models of the workers that run."""
    from llmcli.worker import place, start

    running = start.statuses(place.directory(ctx.find_root().obj[0].environ))
    return {str(status.get("model", status["pid"])) for status in running}


def languages(incomplete: str) -> Offers:
    """Codes of languages; names too once a name was begun, since a list of both would be twice as long."""
    from llmcli.tasks.languages import language_names

    known = language_names()
    names = [name for _, name in known] if incomplete[:1].isupper() else []
    return [*known, *names]


def formats() -> Offers:
    """Formats of documents that ``llm translate`` knows."""
    from llmcli.documents.formats import FORMATS

    return list(FORMATS)


def verbs() -> Offers:
    """Commands that run a model."""
    from llmcli.cli.app import COMMANDS

    return [(command.name, command.help) for command in COMMANDS if command.runs_model]


def settings() -> Offers:
    """Names of settings."""
    from llmcli.settings import KEYS

    return [(key.name, key.help) for key in KEYS]


@_offers
def backends(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names that ``--backend`` takes, explained by their addresses."""
    from llmcli.settings import find_paths, resolve

    environ = ctx.find_root().obj[0].environ
    described = resolve({}, environ, find_paths(environ).config_file)["backends"]
    return [("local", "this machine"), *((name, fields["base_url"]) for name, fields in described.items())]


def kv_types() -> Offers:
    """Types of the KV cache."""
    return ["auto", "f16", "q8_0", "bf16"]
