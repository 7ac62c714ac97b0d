"""``llm backends``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from llmcli.backends.remote.server_probe import ProbeResult
    from llmcli.runtime.named_servers import ListedServer

_PROBE_OPTIONS = ("model", "base_url", "offline", "yes", "timeout")
_NO_KEY = "none"
"""What the table shows for a server that needs a key and has none."""


@command(*GENERAL_OPTIONS, examples="llm backends list\nllm backends list --json | jq -r 'select(.key) | .name'")
def show_list(ctx: CommandContext) -> int:
    """List the remote servers: yours, and the well-known ones. Nothing is sent to them.

    In a pipe, tab-separated: name, type, address, model, place of the key, consent, origin (configuration or preset).
    """
    from llmcli.runtime import named_servers

    servers = named_servers.list_servers(ctx.runtime.config)
    if ctx.console.writes_for_people:
        rows = [_row_for_terminal(server) for server in servers]
        ctx.console.write_table(rows)
        if any(row["key"] == _NO_KEY for row in rows):
            ctx.console.write_stdout("\nTo store a key: llm keys set NAME\n")
    else:
        ctx.console.write_table([_server_row(server) for server in servers])
    return 0


def _server_row(server: ListedServer) -> dict[str, Any]:
    return {
        "name": server.name,
        "type": server.type,
        "base_url": server.base_url or None,
        "model": server.model or None,
        "key": server.key or None,
        "consent": server.consent or None,
        "origin": "configuration" if server.configured else "preset",
    }


def _row_for_terminal(server: ListedServer) -> dict[str, Any]:
    from llmcli.cli.console import error_messages
    from llmcli.config.backend_config import usual_key_variable

    needed = usual_key_variable(server.base_url)
    missing = _NO_KEY if needed else "-"
    key = error_messages.describe(server.key_error)[0] if server.key_error is not None else server.key or missing
    return {"name": server.name, "address": server.base_url or "(your own)", "model": server.model, "key": key}


@command(
    *GENERAL_OPTIONS,
    examples="""
        llm backends add openai --model gpt-4.1-mini
        llm backends add lab --base-url http://gpu.lab:8000/v1
        llm backends add farm --url http://a:8033 --url http://b:8033
        llm backends add azure --base-url https://RESOURCE.openai.azure.com/openai/v1
        llm backends add work --preset anthropic""",
)
def add(
    ctx: CommandContext,
    *,
    name: Annotated[str, Argument(metavar="NAME", help="Its name for --backend.", autocompletion="backend_presets")],
    base_url: Annotated[
        str | None, Option("--base-url", metavar="URL", help="Its address, such as https://HOST/v1.")
    ] = None,
    url: Annotated[
        list[str] | None,
        Option("--url", metavar="URL", help="Address of one of several servers with the same model; repeatable."),
    ] = None,
    mixed: Annotated[bool, Option("--mixed", help="The servers may have different models or weights.")] = False,
    protocol: Annotated[
        str | None,
        Option("--type", metavar="TYPE", help="Its protocol.", autocompletion="backend_types"),
    ] = None,
    preset: Annotated[
        str | None,
        Option(
            "--preset",
            metavar="NAME",
            help="Take type and address of this well-known server (default: NAME).",
            autocompletion="backend_presets",
        ),
    ] = None,
    model: Annotated[
        str | None, Option("-m", "--model", metavar="MODEL", help="Its model, unless -m names another.")
    ] = None,
    key_env: Annotated[
        str | None, Option("--key-env", metavar="VARIABLE", help="Environment variable with its key.")
    ] = None,
    key_file: Annotated[str | None, Option("--key-file", metavar="FILE", help="File of its key.")] = None,
    context: Annotated[
        int | None, Option("--context", metavar="N", help="Context in tokens (default: ask the server).")
    ] = None,
    concurrency: Annotated[
        int | None, Option("--concurrency", metavar="N", help="Most requests at once (default: 16).")
    ] = None,
    consent: Annotated[bool, Option("--consent", help="Consent to sending it data.")] = False,
    force: Annotated[bool, Option("--force", help="Replace the backend of this name.")] = False,
) -> int:
    """Add a remote server to the configuration file; its comments and all other lines stay as they are."""
    from llmcli.runtime import named_servers

    given = {
        "type": protocol,
        "base_url": base_url,
        "base_urls": list(url or ()) or None,
        "mixed": mixed or None,
        "model": model,
        "key_env": key_env,
        "key_file": _absolute_path(key_file) if key_file else None,
        "context": context,
        "concurrency": concurrency,
        "consent": consent or None,
    }
    fields = _complete_fields(name, preset, {key: value for key, value in given.items() if value is not None})
    file = ctx.runtime.paths.config_file
    named_servers.add_backend(file, name, fields, force=force)
    if ctx.console.as_json:
        ctx.console.write_record({"backend": name, "path": str(file), **fields})
    ctx.console.write_note(f"added {name} to {file}; to try it: llm backends test {name}")
    return 0


def _absolute_path(path: str) -> str:
    """Return a path that means the same in every directory; ~ stays for whoever reads it."""
    return path if path.startswith("~") else str(Path(path).absolute())


def _complete_fields(name: str, preset: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a backend, checked, and with what its preset knows. Raises ``UsageError``."""
    from llmcli.config import backend_config
    from llmcli.config.backend_config import find_preset, preset_names

    known = find_preset(preset or name)
    if preset is not None and known is None:
        raise UsageError(f"there is no preset {preset}", detail=f"There are: {', '.join(preset_names())}")
    has_address = "base_url" in given or "base_urls" in given
    if known is not None and not known.base_url and not has_address:
        raise UsageError(
            f"{known.name} needs an address",
            detail=f"Try: llm backends add {name} --base-url {known.example}",
        )
    if known is None and not has_address:
        raise UsageError(f"{name} needs an address", detail=f"Try: llm backends add {name} --base-url https://HOST/v1")
    usual = {"type": "openai" if known is None else known.type}
    if known is not None and not has_address:
        usual["base_url"] = known.base_url
    fields = {**usual, **given}
    try:
        parsed = backend_config.parse_backend_fields(backend_config.parse_backend_name(name), fields)
        addresses = "base_urls" if "base_urls" in fields else "base_url"
        fields[addresses] = parsed[addresses]
    except ValueError as error:
        raise UsageError(str(error), detail="Try: llm backends add --help") from error
    return fields


@command(
    *_PROBE_OPTIONS,
    *GENERAL_OPTIONS,
    examples="""
        llm backends test openai
        llm backends test ollama -m qwen3:4b
        llm backends test --base-url http://localhost:8000/v1""",
)
def probe(
    ctx: CommandContext,
    name: Annotated[
        str | None,
        Argument(metavar="[NAME]", help="A backend.", autocompletion="remote_backends"),
    ] = None,
) -> int:
    """Send one word to a server and say what works: stream, schema, tools, log-probabilities, embeddings, context.

    Of several servers behind one name, each is tested. In a pipe, tab-separated: check, result (yes, no, unknown),
    reason; of several servers, the address comes first. Exit code 3: a check failed with an error.
    """
    from llmcli.backends.remote.server_probe import probe_server, probe_servers
    from llmcli.runtime.named_servers import open_probes

    failed = False
    with open_probes(ctx.runtime, name, consents=ctx.flags.yes) as backends:
        if len(backends) == 1:
            for result in probe_server(backends[0]):
                _show_probe(ctx, {}, result)
                failed = failed or result.error is not None
        else:
            shown = ""
            for address, result in probe_servers(backends):
                if ctx.console.writes_for_people and address != shown:
                    ctx.console.write_stdout(f"{shown and chr(10)}{address}\n")
                _show_probe(ctx, {"server": address}, result)
                shown, failed = address, failed or result.error is not None
    return PartialError.exit_code if failed else 0


def _show_probe(ctx: CommandContext, server: dict[str, Any], result: ProbeResult) -> None:
    """Show a result; in a pipe below the fields of ``server``."""
    from llmcli.cli.console import error_messages, wrapping

    works = {True: "yes", False: "no", None: "unknown"}[result.works]
    detail = result.detail if result.error is None else error_messages.describe(result.error)[0]
    if ctx.console.writes_for_people:
        start = f"{result.check:<10} {works:<8} "
        lines = wrapping.wrap_words(detail, max(ctx.console.columns - len(start), len(start)), break_words=False)
        ctx.console.write_stdout(start + f"\n{' ' * len(start)}".join(lines) + "\n")
    else:
        ctx.console.write_table([{**server, "check": result.check, "works": works, "detail": detail}])


@command(*GENERAL_OPTIONS, examples="llm backends rm lab\nllm backends rm --yes work")
def rm(
    ctx: CommandContext,
    name: Annotated[str, Argument(metavar="NAME", help="A backend.", autocompletion="configured_backends")],
    yes: YesOption = False,
) -> int:
    """Remove a remote server from the configuration file; asks first, unless --yes. A stored key stays."""
    from llmcli.cli.console import confirm
    from llmcli.errors import MissingError
    from llmcli.runtime import named_servers
    from llmcli.runtime.named_servers import KeyStore

    if name not in ctx.runtime.settings["backends"]:
        raise MissingError(name, kind="backend", suggestions=tuple(ctx.runtime.settings["backends"]))
    again = ("backends", "rm", "--yes", name)
    what = f"Remove {name} from {ctx.runtime.paths.config_file}"
    if not yes and not confirm.require_confirmation(ctx.console, what, again, ["LLMCLI_CONFIG_DIR"]):
        return 1
    named_servers.remove_backend(ctx.runtime.paths.config_file, name)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": name})
    if ctx.runtime.settings["backend"] == name:
        ctx.console.warn(f"backend is still set to {name} ({ctx.runtime.settings.origin('backend')})")
    if name in KeyStore(ctx.runtime.paths.keys).names():
        ctx.console.write_note(f"its key stays; to remove it: llm keys rm {name}")
    return 0


backends = CommandGroup(
    "List, add, test and remove remote servers.",
    {"list": show_list, "add": add, "test": probe, "rm": rm},
    area=CommandArea.MODELS,
    also="Their keys: llm keys.",
)
