"""The completions of a value: names of models, prompts, languages, settings.

Typer calls these with its context and the word so far, and keeps the candidates that begin with that word. A Tab press
must be as quick as ``llm --help`` and must never fail: nothing heavy is imported, no file but the configuration is
parsed, and if something is broken, nothing is offered (the command itself reports it).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from llmcli.errors import LlmError

if TYPE_CHECKING:
    import typer

    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.prompts.prompt_library import PromptLibrary

Suggestions = list[str | tuple[str, str]]
"""Words, or pairs of a word and its explanation."""
_MAX_EXPLANATION_CHARS = 60
"""Maximum length of a description that a user wrote."""


def _empty_on_error(
    find: Callable[[typer.Context], Iterable[str | tuple[str, str]]],
) -> Callable[[typer.Context], Suggestions]:
    """Offer nothing if ``find`` fails."""

    @functools.wraps(find)
    def offer(ctx: typer.Context) -> Suggestions:
        try:
            return list(find(ctx))
        except (LlmError, OSError):
            return []

    return offer


@_empty_on_error
def models(ctx: typer.Context) -> Iterable[str]:
    """Names that ``-m`` takes."""
    return _library(ctx).known_names()


def _library(ctx: typer.Context) -> ModelLibrary:
    from llmcli.app_paths import find_paths
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.settings import resolve_settings

    environ = ctx.find_root().obj[0].environ
    paths = find_paths(environ)
    return ModelLibrary(resolve_settings({}, environ, paths.config_file), paths, environ)


@_empty_on_error
def aliases(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Aliases, explained by what they stand for."""
    return ((alias.name, alias.model) for alias in _library(ctx).defaults.aliases())


@_empty_on_error
def foreign_models(ctx: typer.Context) -> Iterable[str]:
    """Models of the program that ``--from`` names; without it the argument is a file, which the shell completes."""
    from llmcli.models.library.foreign_stores import FOREIGN_PROGRAMS, find_foreign_models

    program = ctx.params.get("program")
    if program not in FOREIGN_PROGRAMS:
        return ()
    return (
        model.name
        for model in find_foreign_models(program, ctx.find_root().obj[0].environ)
        if model.missing_file is None
    )


@_empty_on_error
def calibrations(ctx: typer.Context) -> Iterable[str]:
    """Names of saved calibrations."""
    from llmcli.app_paths import find_paths

    directory = find_paths(ctx.find_root().obj[0].environ).calibrations
    return sorted(each.stem for each in directory.glob("*.npz"))


def swap_files() -> list[str]:
    """The words that llm audit can swap, and the templates; a file of the user's begins with @."""
    from llmcli.tasks.audit.swap_file import TEMPLATES, bundled_names

    return [*bundled_names(), TEMPLATES]


@_empty_on_error
def prompts(ctx: typer.Context) -> Iterable[str]:
    """Names of prompt files."""
    return _prompts(ctx).names()


@_empty_on_error
def generate_kinds(ctx: typer.Context) -> Iterable[str]:
    """Kinds of text that ``llm generate`` writes, and prompts of the user's own."""
    from llmcli.prompts.prompt_library import own_prompt_names
    from llmcli.tasks.generate.outline import LongKind

    return sorted({*own_prompt_names(_prompts(ctx)), *map(str, LongKind)})


def _prompts(ctx: typer.Context) -> PromptLibrary:
    from llmcli.app_paths import find_paths
    from llmcli.prompts.prompt_library import PromptLibrary

    return PromptLibrary(find_paths(ctx.find_root().obj[0].environ).prompts)


@_empty_on_error
def sessions(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of saved chats, explained by how they began."""
    from llmcli.app_paths import find_paths
    from llmcli.cli.console.sanitize import single_line
    from llmcli.store.session_store import SessionStore

    with SessionStore(find_paths(ctx.find_root().obj[0].environ).sessions, read_only=True) as store:
        return [(each.session.name, single_line(each.first_message[:_MAX_EXPLANATION_CHARS])) for each in store.list()]


@_empty_on_error
def indexes(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Directories that have an index, explained by the number of their files."""
    return _indexed_directories(ctx)


@_empty_on_error
def index_names(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of indexes: the last part of the directory's path, or all of it if several end alike."""
    found = _indexed_directories(ctx)
    ends = [directory.rpartition("/")[2] for directory, _ in found]
    return [
        (end if ends.count(end) == 1 else directory, files) for end, (directory, files) in zip(ends, found, strict=True)
    ]


def _indexed_directories(ctx: typer.Context) -> list[tuple[str, str]]:
    from llmcli.app_paths import find_paths
    from llmcli.store.passage_index import IndexFiles

    files = IndexFiles(find_paths(ctx.find_root().obj[0].environ).indexes)
    return [(each.directory, f"{each.files} files") for each in files.summaries()]


@_empty_on_error
def workers(ctx: typer.Context) -> Iterable[str]:
    """Models of the workers that run."""
    from llmcli.worker import runtime_dir
    from llmcli.worker.client import worker_status

    running = worker_status.list_statuses(runtime_dir.find_runtime_dir(ctx.find_root().obj[0].environ))
    return {str(status.get("model", status["pid"])) for status in running}


def languages(incomplete: str) -> Suggestions:
    """Codes of languages; names only if the word begins one, since both would make the list twice as long."""
    from llmcli.tasks.languages import language_names

    known = language_names()
    names = [name for _, name in known] if incomplete[:1].isupper() else []
    return [*known, *names]


def translation_styles() -> Suggestions:
    """Values of --style of ``llm translate``."""
    return [("formal", "address the reader formally"), ("informal", "address the reader informally")]


def formats() -> Suggestions:
    """Formats of documents and records that ``llm translate`` knows."""
    from llmcli.documents.format_registry import format_names

    return [*record_formats(), *format_names()]


def record_formats() -> Suggestions:
    """Formats of records."""
    from llmcli.documents.format_registry import record_format_names

    return list(record_format_names())


def model_commands() -> Suggestions:
    """Commands that run a model."""
    from llmcli.cli import command_registry

    return [(command.name, command.help) for command in command_registry.model_commands()]


@_empty_on_error
def help_topics(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """What ``llm help`` shows: commands and pages of the documentation; after a group's name its commands."""
    from llmcli.cli import command_registry
    from llmcli.cli.commands.help import help_topics as topics

    if typed := ctx.params.get("topic"):
        group = command_registry.find_command(typed[0])
        if len(typed) > 1 or group is None or not group.is_group:
            return ()
        return [(each.name, each.short_help) for each in group.load().registered_commands]
    commands = [(each.name, each.help) for each in command_registry.COMMANDS]
    pages = [(each.name, each.purpose) for each in topics.list_topics()]
    return [*commands, *pages, ("topics", "list the pages of the documentation")]


def settings() -> Suggestions:
    """Names of settings."""
    from llmcli.settings import SETTING_SPECS

    return [(key.name, key.help) for key in SETTING_SPECS]


def assignments(ctx: typer.Context, incomplete: str) -> Suggestions:
    """Names of settings with their values, as ``--set`` takes them."""
    from llmcli.settings import SETTING_SPECS

    name, equals, _ = incomplete.partition("=")
    if not equals:
        return [(f"{spec.name}=", spec.help) for spec in SETTING_SPECS]
    named = {"model": models, "draft": models, "backend": backends}.get(name)
    words = next((spec.words for spec in SETTING_SPECS if spec.name == name), ())
    found = [(each, "") if isinstance(each, str) else each for each in (*words, *(named(ctx) if named else ()))]
    return [(f"{name}={value}", explanation) for value, explanation in found]


@_empty_on_error
def backends(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names that ``--backend`` takes, explained by their addresses."""
    return [("local", "this machine"), *_remote_servers(ctx)]


@_empty_on_error
def remote_backends(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of remote servers, explained by their addresses."""
    return _remote_servers(ctx)


@_empty_on_error
def configured_backends(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of the servers of the configuration, explained by their addresses."""
    return _configured_servers(ctx).items()


def _remote_servers(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    from llmcli.config.backend_config import BACKEND_PRESETS

    known = {preset.name: preset.base_url or preset.example for preset in BACKEND_PRESETS}
    configured = _configured_servers(ctx)
    return [*configured.items(), *((name, url) for name, url in known.items() if name not in configured)]


def _configured_servers(ctx: typer.Context) -> dict[str, str]:
    from llmcli.app_paths import find_paths
    from llmcli.config.backend_config import described_address
    from llmcli.settings import resolve_settings

    environ = ctx.find_root().obj[0].environ
    described = resolve_settings({}, environ, find_paths(environ).config_file)["backends"]
    return {name: described_address(fields) for name, fields in described.items()}


def engine_kinds() -> Suggestions:
    """Kinds of prebuilt engines."""
    from llmcli.engine_packages.package_table import KINDS

    return list(KINDS)


@_empty_on_error
def engines(ctx: typer.Context) -> Iterable[str]:
    """Names of the engines that are here."""
    from llmcli import engine_library
    from llmcli.app_paths import find_paths

    names = [
        library.name
        for library in engine_library.installed_libraries(find_paths(ctx.find_root().obj[0].environ).engines)
    ]
    return [*names, engine_library.COMPILED] if engine_library.compiled_library() else names


def backend_types() -> Suggestions:
    """Protocols of servers."""
    from llmcli.config.backend_config import BACKEND_TYPES

    return list(BACKEND_TYPES)


def backend_presets() -> Suggestions:
    """Names of well-known servers."""
    from llmcli.config.backend_config import BACKEND_PRESETS

    return [(preset.name, preset.base_url or preset.example) for preset in BACKEND_PRESETS]


def quantization_types() -> list[str]:
    """Types of weights that ``llm models quantize`` makes."""
    from llmcli.models.gguf.tensor_types import QUANTIZATIONS

    return list(QUANTIZATIONS)
