"""``llm config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmcli import private_files
from llmcli.cli import completers
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, command
from llmcli.errors import CannotCreate, ConfigError
from llmcli.settings import KEYS, suggest

_NEW = "# Settings of llm; llm config show lists them with their values. Take the # away from those that you set.\n"


@command(*GENERAL, tolerant=True, examples="llm config path\ncp settings.yaml $(llm config path)")
def path(cli: Context) -> int:
    """Print the path of the configuration file."""
    file = cli.paths.config_file
    cli.facts({"path": str(file), "exists": private_files.exists(file)}) if cli.flags.json else cli.write(f"{file}\n")
    return 0


@command(*GENERAL, examples="llm config show\nllm config show ctx\nLLMCLI_CTX=4096 llm config show --json")
def show(
    cli: Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[SETTING]", help="Only this one.", autocompletion=completers.settings),
    ] = None,
) -> int:
    """Show every setting, its value and where it came from.

    In a pipe, tab-separated: setting, value, origin, meaning.
    """
    keys = [key for key in KEYS if name in (None, key.name)]
    if not keys:
        raise ConfigError(str(name), detail="unknown key", suggestions=suggest(str(name)))
    rows = []
    for key in keys:
        value, origin = cli.settings[key.name], cli.settings.origin(key.name)
        if key.name == "model" and value is None and cli.models.choices.stored_default():
            value, origin = cli.models.default()
        shown = value if cli.flags.json else _shown(value)
        rows.append({"setting": key.name, "value": shown, "origin": origin, "meaning": key.help})
    cli.table(rows)
    return 0


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        shown = {name: each["base_url"] if isinstance(each, dict) else each for name, each in value.items()}
        return ", ".join(f"{name}: {text}" for name, text in shown.items()) or "-"
    return "-" if value is None else str(value)


@command(*GENERAL, tolerant=True, examples="llm config edit\nEDITOR=nano llm config edit")
def edit(cli: Context) -> int:
    """Open the configuration file in your editor and check it afterwards."""
    from llmcli.cli import editing
    from llmcli.settings import resolve

    file = cli.paths.config_file
    fresh = not private_files.exists(file)
    if fresh:
        _create(file)  # where a dangling link points to, if it is one
    with editing.editing(file, fresh=fresh):
        editing.edit(cli, file)
        resolve({}, {}, file)
    return 0


def _create(file: Path) -> None:
    from llmcli.documents.writing import atomic_write

    lines = [_NEW, *(f"\n# {key.help}\n# {key.name}: {_example(key.default)}\n" for key in KEYS)]
    try:
        private_files.make_directory(file.parent)
    except OSError as error:
        raise CannotCreate(str(file), detail=error.strerror or "") from error
    with atomic_write(str(file), mode=private_files.FILE_MODE) as stream:
        stream.write("".join(lines).encode())


def _example(default: object) -> str:
    if isinstance(default, dict):
        return "{}"
    return "" if default is None else _shown(default)


config = group("Look at the settings, and change them.", {"path": path, "show": show, "edit": edit})
