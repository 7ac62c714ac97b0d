"""``llm engine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command, reject_empty_values
from llmcli.cli.parsing.parameters import Argument
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.engine_library import EngineLibrary
    from llmcli.runtime.engine_install import ListedEngine

NameArgument = Annotated[str, Argument(metavar="NAME", help="An engine.", autocompletion="engines")]
OptionalNameArgument = Annotated[
    str | None,
    Argument(metavar="[NAME]", help="An engine (default: the one in use).", autocompletion="engines"),
]
_VARIABLES = ("LLMCLI_DATA_DIR", "npm_config_registry")


@command(*GENERAL_OPTIONS, examples="llm engine list\nllm engine list --json | jq -r 'select(.used).name'")
def show_list(ctx: CommandContext) -> int:
    """List the engines: the builds of llama.cpp that are here, and those that you can install.

    In a pipe, tab-separated: name, version, here, used, variant (the processors that its CPU code was built for),
    devices besides the processor, bytes to download, package, directory, version that can be installed.
    """
    from llmcli.runtime import engine_install

    engines = engine_install.list_engines(ctx.runtime.config)
    if not ctx.console.writes_for_people:
        ctx.console.write_table([_engine_row(engine) for engine in engines])
        return 0
    ctx.console.write_table([_row_for_terminal(engine) for engine in engines])
    if not any(engine.used for engine in engines):
        ctx.console.write_wrapped("\nNo engine is here. To install one: llm engine install\n")
    return 0


def _engine_row(engine: ListedEngine) -> dict[str, Any]:
    from llmcli.engine.llama import bindings

    library, package, check = engine.library, engine.package, engine.check
    compiled = bindings.version() if library is not None and library.is_compiled else None
    installed = library.version if library is not None else package and package.version
    return {
        "name": engine.name,
        "version": compiled or installed or None,
        "here": library is not None,
        "used": engine.used,
        "variant": check.variant if check is not None and check.variant else None,
        "devices": list(check.devices) if check is not None else None,
        "size": package.size if package is not None else None,
        "package": package.name if package is not None else None,
        "directory": str(library.directory) if library is not None else None,
        "available": package.version if package is not None else None,
    }


def _row_for_terminal(engine: ListedEngine) -> dict[str, Any]:
    from llmcli.cli.console.messages.message_text import format_bytes

    row = _engine_row(engine)
    install = f"llm engine install {engine.name}"
    state = "in use" if engine.used else "here" if engine.library is not None else install
    if engine.is_outdated:
        state += f", {row['available']} is newer: {install}"
    size = format_bytes(engine.package.size) if engine.package is not None else ""
    return {"name": row["name"], "version": row["version"], "variant": row["variant"], "download": size, "": state}


@command(
    *GENERAL_OPTIONS,
    "offline",
    "timeout",
    examples="llm engine install\nllm engine install --yes\nllm engine install vulkan",
)
def install(
    ctx: CommandContext,
    kind: Annotated[
        str | None,
        Argument(
            metavar="[cpu|cuda|vulkan|metal]",
            help="What it computes on (default: this machine's fastest device).",
            autocompletion="engine_kinds",
        ),
    ] = None,
    yes: YesOption = False,
) -> int:
    """Install a prebuilt llama.cpp, and use it from now on; no compiler is needed.

    llm shows what it downloads, from where, how large it is and under which licence, and asks first, unless --yes. It
    compares the SHA-512 with the one that llm knows, and checks the results of the engine on this processor. The
    packages are node-llama-cpp's, from npm's registry; npm_config_registry names another one.
    """
    from llmcli.cli.console import confirm
    from llmcli.engine_packages.package_table import KINDS
    from llmcli.runtime import engine_install

    if kind not in {None, *KINDS}:
        raise UsageError(f"{kind} is no kind of engine", detail=f"Choose one of: {', '.join(KINDS)}")
    config = ctx.runtime.config
    package = engine_install.choose_package(kind)
    engine_install.require_online(config, package)
    what = engine_install.describe_package(config, package)
    again = ("engine", "install", *([kind] if kind else []), "--yes")
    if not yes and not confirm.require_confirmation(ctx.console, f"Download {what}", again, _VARIABLES):
        return 1
    if yes:
        ctx.console.write_note(f"downloading {what}")
    before = engine_install.used_engine(config)
    library = ctx.runtime.observer.show_installation(engine_install.install(config, package))
    if not (ctx.console.shows_notes or ctx.console.quiet or ctx.console.as_json):  # the log of a build shows the result
        ctx.console.write_stdout(f"installed the engine {engine_install.describe_engine(library)}\n")
    return _report_engine(ctx, library, before)


@command(*GENERAL_OPTIONS, examples="llm engine use compiled\nllm engine use cpu")
def use(ctx: CommandContext, name: NameArgument) -> int:
    """Choose which engine runs models from now on; compiled is the one that was compiled with llama-cpp-python.

    Each engine has its own measurements, copies of weights and cached prompts.
    """
    from llmcli.runtime import engine_install

    before = engine_install.used_engine(ctx.runtime.config)
    return _report_engine(ctx, engine_install.use(ctx.runtime.config, name), before)


def _report_engine(ctx: CommandContext, library: EngineLibrary, before: EngineLibrary | None) -> int:
    """Report which engine runs models from now on, and which did ``before``."""
    from llmcli.runtime import engine_install

    described = engine_install.describe_engine(library)
    if ctx.console.as_json:
        engines = engine_install.list_engines(ctx.runtime.config)
        ctx.console.write_record(next(_engine_row(engine) for engine in engines if engine.name == library.name))
    changed = "" if before is None or before.name == library.name else f", before: {before.label}"
    ctx.console.write_note(f"engine {described} runs models from now on{changed}")
    for problem in engine_install.list_problems(ctx.runtime.config, library):
        ctx.console.warn(problem)
    return 0


@command(*GENERAL_OPTIONS, examples="llm engine rm vulkan\nllm engine rm --yes cpu")
def rm(ctx: CommandContext, name: NameArgument, yes: YesOption = False) -> int:
    """Remove an engine that llm installed; asks first, unless --yes."""
    from llmcli.cli.console import confirm
    from llmcli.runtime import engine_install

    library = engine_install.find_removable(ctx.runtime.config, name)
    again = ("engine", "rm", "--yes", name)
    if not yes and not confirm.require_confirmation(
        ctx.console, f"Remove the engine {library.label}", again, _VARIABLES[:1]
    ):
        return 1
    engine_install.remove(ctx.runtime.config, library)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": name})
    return 0


@command(*GENERAL_OPTIONS, examples="llm engine check")
def check(ctx: CommandContext, name: OptionalNameArgument = None) -> int:
    """Check an engine again: that it matches llama-cpp-python, and that it computes right on this processor.

    Its functions and structs are compared with those that llm relies on, and the results of four tiny models with known
    ones. llm does this by itself before an installed engine is used first. An engine that fails is never used (78).
    """
    from llmcli.engine.llama import library_check
    from llmcli.runtime import engine_install

    library = engine_install.find_engine(ctx.runtime.config, name)
    found = library_check.run_check(library)
    if ctx.console.as_json:
        ctx.console.write_record(
            {"name": library.name, "variant": found.variant or None, "devices": list(found.devices)}
        )
    elif ctx.console.shows_notes:
        ctx.console.write_note(f"engine {engine_install.describe_engine(library)} computes right on this machine")
    return 0


engine = CommandGroup(
    "List, install, choose and check the builds of llama.cpp, which runs models.",
    {
        name: reject_empty_values(function, "Try: llm engine list")
        for name, function in {
            "list": show_list,
            "install": install,
            "use": use,
            "rm": rm,
            "check": check,
        }.items()
    },
    area=CommandArea.MODELS,
    listed=False,
)
