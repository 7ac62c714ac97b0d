"""``llm config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument
from llmcli.files import private_files
from llmcli.settings import SETTING_SPECS, find_setting

SettingArgument = Annotated[str, Argument(metavar="SETTING", help="The setting's name.", autocompletion="settings")]
_CONFIG_TEMPLATE = (
    "# Settings of llm; llm config show lists them with their values. Remove the # in front of those that you set.\n"
)


@command(
    *GENERAL_OPTIONS,
    tolerant=True,
    examples="""
      llm config path
      mkdir -p "$(dirname "$(llm config path)")"
      cp settings.yaml "$(llm config path)"
    """,
)
def path(ctx: CommandContext) -> int:
    """Print the path of the configuration file."""
    file = ctx.runtime.paths.config_file
    ctx.console.write_record(
        {"path": str(file), "exists": private_files.exists(file)}
    ) if ctx.console.as_json else ctx.console.write_stdout(f"{file}\n")
    return 0


@command(*GENERAL_OPTIONS, examples="llm config show\nllm config show ctx\nLLMCLI_CTX=4096 llm config show --json")
def show(
    ctx: CommandContext,
    name: Annotated[
        str | None,
        Argument(metavar="[SETTING]", help="Show only this setting.", autocompletion="settings"),
    ] = None,
) -> int:
    """Show every setting, its value and where it came from.

    In a pipe, tab-separated: setting, value, origin, meaning.
    """
    keys = SETTING_SPECS if name is None else (find_setting(name),)
    rows = []
    for key in keys:
        value, origin = ctx.runtime.settings[key.name], ctx.runtime.settings.origin(key.name)
        if key.name == "model" and value is None and ctx.runtime.models.defaults.stored_default():
            value, origin = ctx.runtime.models.default_model()
        if key.name == "aliases" and (aliases := ctx.runtime.models.defaults.aliases()):
            value = {each.name: each.model for each in aliases}
            origin = ", ".join(dict.fromkeys(each.origin for each in aliases))
        shown = value if ctx.console.as_json else _format_value(value)
        rows.append({"setting": key.name, "value": shown, "origin": origin, "meaning": key.help})
    ctx.console.write_table(rows)
    return 0


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        from llmcli.config.backend_config import described_address

        shown = {
            name: described_address(each) if isinstance(each, dict) else _format_value(each)
            for name, each in value.items()
        }
        return ", ".join(f"{name}: {text}" for name, text in shown.items()) or "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


@command(*GENERAL_OPTIONS, tolerant=True, examples="llm config edit\nEDITOR=nano llm config edit")
def edit(ctx: CommandContext) -> int:
    """Open the configuration file in your editor and check it afterwards."""
    from llmcli.cli.input import editor
    from llmcli.settings import resolve_settings

    file = ctx.runtime.paths.config_file
    fresh = not private_files.exists(file)
    if fresh:
        _create_config(file)  # the target of a dangling link
    with editor.remove_if_unchanged(file, fresh=fresh):
        editor.edit_file(ctx.console, file)
        resolve_settings({}, {}, file)
    return 0


@command(
    *GENERAL_OPTIONS,
    tolerant=True,
    examples="""
      llm config set ctx 8192
      llm config set worker.idle_timeout 60
      llm config set aliases '{small: qwen3-1.7b}'
    """,
)
def set_(
    ctx: CommandContext,
    name: SettingArgument,
    value: Annotated[str, Argument(metavar="VALUE", help="Its value, as in the configuration file (YAML).")],
) -> int:
    """Write a setting to the configuration file; everything else in the file stays as it is."""
    from llmcli.config import config_editor

    spec = find_setting(name)
    stored = config_editor.set_setting(ctx.runtime.paths.config_file, spec, value)
    if ctx.console.as_json:
        ctx.console.write_record({"setting": name, "value": stored})
    overriding = spec.variable if ctx.console.environment.environ.get(spec.variable) else ""
    if overriding:
        ctx.console.write_note(f"{overriding} is set in the environment and overrides the file")
    return 0


@command(*GENERAL_OPTIONS, tolerant=True, examples="llm config unset ctx")
def unset(ctx: CommandContext, name: SettingArgument) -> int:
    """Remove a setting from the configuration file, so that its default applies."""
    from llmcli.config import config_editor

    spec = find_setting(name)
    removed = config_editor.unset_setting(ctx.runtime.paths.config_file, spec)
    if ctx.console.as_json:
        ctx.console.write_record({"setting": name, "removed": removed})
    return 0


def _create_config(file: Path) -> None:
    from llmcli.files.atomic_file import write_user_file

    lines = [
        _CONFIG_TEMPLATE,
        *(f"\n# {key.help}\n# {key.name}: {_example_value(key.default)}\n" for key in SETTING_SPECS),
    ]
    write_user_file(file, "".join(lines).encode())


def _example_value(default: object) -> str:
    if isinstance(default, dict):
        return "{}"
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    return "" if default is None else _format_value(default)


config = CommandGroup(
    "Show and edit the settings.",
    {"path": path, "show": show, "set": set_, "unset": unset, "edit": edit},
    synonyms={"list": "show", "get": "show"},
    area=CommandArea.HOUSEKEEPING,
)
