"""The checks of ``llm doctor``: each is a function from a ``CommandContext`` to a ``Finding`` and never raises."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmcli import __version__
from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.doctor import reachability
from llmcli.cli.commands.doctor.findings import Finding, FindingState
from llmcli.cli.console import error_messages, suggestion
from llmcli.cli.console.messages import message_text
from llmcli.errors import LlmError, ModelNotDownloaded, Unsupported
from llmcli.errors.model_errors import EngineNotInstalled, EngineRefused
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files import private_files


def run_checks(ctx: CommandContext, *, network: bool) -> Iterator[tuple[str, Finding]]:
    """Yield the name of every check and its finding; an ``LlmError`` that a check raises becomes a problem.

    ``network``: also connect to the Hub and to servers.
    """
    for name, check in CHECKS.items():
        try:
            finding = check(ctx)
            yield name, PROBES[name](ctx, finding) if network and name in PROBES else finding
        except LlmError as error:
            happened, advice = error_messages.describe(error)
            yield name, Finding(FindingState.PROBLEM, happened, advice)


def _check_versions(_cli: CommandContext) -> Finding:
    from llmcli.engine.llama import bindings

    data = {
        "llmcli": __version__,
        "python": platform.python_version(),
        "llama_cpp_python": bindings.version(),
        "platform": platform.platform(),
    }
    text = f"llmcli {__version__}, Python {data['python']}, llama-cpp-python {data['llama_cpp_python']}"
    return Finding(FindingState.OK, f"{text}, {data['platform']}", data=data)


def _check_llama_cpp(ctx: CommandContext) -> Finding:
    from llmcli.engine.llama import bindings
    from llmcli.runtime import engine_install

    try:
        info = " ".join(bindings.system_info().split())
    except EngineNotInstalled:
        raise
    except Unsupported as error:
        return Finding(FindingState.PROBLEM, error.detail, "Try: pip install --force-reinstall llama-cpp-python")
    library = engine_install.find_engine(ctx.runtime.config)
    described, faster = engine_install.describe_engine(library), engine_install.find_faster(ctx.runtime.config)
    data = {
        "system_info": info,
        "engine": library.name,
        "directory": str(library.directory),
        "faster": None if faster is None else faster.command,
    }
    return Finding(FindingState.OK, f"engine {described}; {info}", "" if faster is None else faster.advice, data)


@frozen
class _MeasuredLoad:
    """A ``LoadSource`` that returns a load measured earlier."""

    measured_cores: float | None

    def busy_cores(self, *, rested: bool = False) -> float | None:
        del rested  # the load was measured just now
        return self.measured_cores


def _check_cores(ctx: CommandContext) -> Finding:
    from llmcli.engine.llama import hardware
    from llmcli.engine.llama.threads import LOAD_INTERVAL_S, SystemLoad, ThreadPolicy

    cores, load = hardware.detect_cores(), SystemLoad()
    time.sleep(LOAD_INTERVAL_S)  # the load is what other processes use in this interval
    others = load.busy_cores()
    wanted, origin = ctx.runtime.settings["threads"], ctx.runtime.settings.origin("threads")
    if wanted == "auto":
        chosen = ThreadPolicy(cores.max_threads, load=_MeasuredLoad(others))
        chosen.sample_load()
        threads, why = chosen.pick(1), "chosen for the current load"
    else:
        threads, why = wanted, f"set by {origin}"
    quota = "no CPU quota" if cores.quota is None else f"a quota of {cores.quota:g} CPUs"
    busy = "the load of other programs is unknown" if others is None else f"other programs keep {others:.1f} cores busy"
    measured = f"{cores.affinity} logical cores by affinity, {cores.physical} physical, {quota}, {busy}"
    text = f"threads: {threads}, {why}; {measured}"
    data = {**asdict(cores), "usable": cores.max_threads, "others": others, "threads": threads, "origin": origin}
    if threads > cores.affinity:
        return Finding(FindingState.WARNING, text, f"Set threads to {cores.max_threads} or to auto.", data)
    return Finding(FindingState.OK, text, data=data)


def _check_memory(_cli: CommandContext) -> Finding:
    from llmcli.engine.llama import hardware

    free = hardware.available_memory()
    if free is None:
        return Finding(FindingState.UNTESTED, "this system does not report its free memory", data={"available": None})
    return Finding(FindingState.OK, f"{message_text.format_bytes(free)} can be allocated", data={"available": free})


def _check_gpu(ctx: CommandContext) -> Finding:
    from llmcli.engine.llama import hardware

    try:
        gpus = hardware.list_gpus()
    except (Unsupported, EngineRefused):
        return Finding(FindingState.WARNING, "unknown without llama.cpp")
    data = {"devices": [{"name": gpu.name, "free": gpu.free, "total": gpu.total} for gpu in gpus]}
    if gpus:
        named = (
            f"{gpu.name} ({message_text.format_bytes(gpu.free)} of {message_text.format_bytes(gpu.total)} free)"
            for gpu in gpus
        )
        return Finding(FindingState.OK, ", ".join(named), data=data)
    layers = ctx.runtime.settings["gpu_layers"]
    if layers not in {"auto", 0}:
        origin = ctx.runtime.settings.origin("gpu_layers")
        text = f"gpu_layers is {layers} ({origin}), but this build of llama.cpp cannot offload to a GPU"
        return Finding(FindingState.WARNING, text, "Install a build for your GPU: llm engine install", data)
    return Finding(FindingState.OK, "this build of llama.cpp cannot offload to a GPU; models run on the CPU", data=data)


def _check_worker(ctx: CommandContext) -> Finding:
    from llmcli.worker import runtime_dir
    from llmcli.worker.client import worker_status

    wanted, origin = ctx.runtime.settings["worker"], ctx.runtime.settings.origin("worker")
    if wanted == "off":
        return Finding(FindingState.OK, f"off ({origin}); each command loads its model", data={"worker": wanted})
    try:
        directory = runtime_dir.find_runtime_dir(ctx.runtime.environ)
    except LlmError as error:
        advice = (
            "Commands load their models themselves. Make the directory private (chmod 700), or set LLMCLI_RUNTIME_DIR."
        )
        return Finding(FindingState.WARNING, error_messages.describe(error)[0], advice, {"worker": wanted})
    running = worker_status.list_statuses(directory)
    named = ", ".join(
        f"{status['model']} (pid {status['pid']})" for status in running if worker_status.has_answered(status)
    )
    silent = [str(status["pid"]) for status in running if not worker_status.has_answered(status)]
    data = {"worker": wanted, "directory": str(directory), "running": [status["pid"] for status in running]}
    if silent:
        return Finding(
            FindingState.WARNING,
            f"pid {', '.join(silent)} does not answer",
            f"Try: llm worker stop {' '.join(silent)}",
            data,
        )
    return Finding(FindingState.OK, f"{named or 'no worker is running'}; sockets in {directory}", data=data)


def _check_configuration(ctx: CommandContext) -> Finding:
    file = ctx.runtime.paths.config_file
    if ctx.runtime.config_error is not None:
        happened, _ = error_messages.describe(ctx.runtime.config_error)
        return Finding(FindingState.PROBLEM, happened, f"Try: llm config edit ({file})", {"path": str(file)})
    values = {
        name: {"value": setting.value, "origin": setting.origin}
        for name, setting in ctx.runtime.settings.values.items()
        if setting.origin != "default"
    }
    changed = ", ".join(f"{name} = {each['value']} ({each['origin']})" for name, each in values.items())
    missing = "" if private_files.exists(file) else " (does not exist)"
    text = f"{file}{missing}; {changed or 'every setting has its default'}"
    return Finding(FindingState.OK, text, data={"path": str(file), "settings": values})


def _check_provenance(ctx: CommandContext) -> Finding:
    from llmcli.provenance.digest_key import load_key

    path = ctx.runtime.paths.digest_key
    key = load_key(path)
    text = f"digests are keyed by {path}{'' if key else ', which the first --provenance creates'}"
    return Finding(FindingState.OK, text, data={"path": str(path), "key": None if key is None else key.id})


def _check_prompts(ctx: CommandContext) -> Finding:
    problems = ctx.runtime.prompts.check()
    text = f"{len(ctx.runtime.prompts.names())} prompts; yours are in {ctx.runtime.prompts.user}"
    data = {"user": str(ctx.runtime.prompts.user), "built_in": str(ctx.runtime.prompts.builtin)}
    if problems:
        bad = ", ".join(dict.fromkeys(problem.name for problem in problems))
        return Finding(FindingState.WARNING, f"these have problems: {bad}", "Try: llm prompts check", data)
    return Finding(FindingState.OK, text, data=data)


def _check_models(ctx: CommandContext) -> Finding:
    from llmcli.cli.commands.models import model_rows
    from llmcli.models.files.paths import hub_cache_directory

    directory = hub_cache_directory(ctx.runtime.environ)
    here = ctx.runtime.models.list()
    sizes = sum(model.size for model in here)
    existing = _nearest_existing(directory)
    free = shutil.disk_usage(existing).free
    data = {"directory": str(directory), "models": [model.name for model in here], "disk_free": free}
    count = "1 model" if len(here) == 1 else f"{len(here)} models"
    text = f"{count}, {message_text.format_bytes(sizes)}, in {directory} ({message_text.format_bytes(free)} free)"
    store = ctx.runtime.models.derived_weights
    data |= {"derived_bytes": store.total_bytes, "derived_limit_bytes": store.limit_bytes}
    if store.total_bytes:
        text += f"; {message_text.format_bytes(store.total_bytes)} of copies in other types in {store.directory}"
    damaged = ctx.runtime.models.registry.damaged_file()
    if damaged is not None:
        advice = "Pull imported files and set the default again, then delete that file."
        return Finding(FindingState.WARNING, f"the registry of models is damaged: {damaged}; {text}", advice, data)
    if not _is_writable(existing):
        return Finding(
            FindingState.WARNING, f"{existing} cannot be written; {text}", "Make it writable, or set HF_HOME.", data
        )
    bad = {model.name: model_rows.verification_state(model) for model in here if model.missing or model.damaged}
    if bad:
        named = ", ".join(f"{name} is {state}" for name, state in bad.items())
        return Finding(
            FindingState.WARNING, f"{named}; {text}", "Try: llm models pull NAME, or: llm models rm NAME", data
        )
    if here:
        text += "; to check their bytes: llm models verify"
    return Finding(FindingState.OK, text, data=data)


def _nearest_existing(path: Path) -> Path:
    """Return ``path`` or its nearest existing parent directory."""
    return next(each for each in (path, *path.absolute().parents) if private_files.exists(each))


def _is_writable(path: Path) -> bool:
    return private_files.exists(path) and path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _check_default_model(ctx: CommandContext) -> Finding:
    from llmcli.cli.commands.models import model_rows
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.models.size_classes import TOY_MEANING, is_toy_size

    name, origin = ctx.runtime.models.default_model()
    data: dict[str, Any] = {"name": name, "origin": origin}
    pull = f"Try: {suggestion.format_command('models', 'pull', name)}"
    try:
        model = ctx.runtime.models.find()
        headers = [read_header(part) for part in model.parts]
    except ModelNotDownloaded:
        return Finding(FindingState.WARNING, f"{name} ({origin}) is not on this machine", pull, data)
    except LlmError as error:
        happened, advice = error_messages.describe(error)
        return Finding(FindingState.PROBLEM, f"{happened} ({origin})", advice, data)
    state = model_rows.verification_state(model)
    data |= {"path": str(model.path), "verification": state}
    text = f"{name} ({origin}): {model.path}"
    if model.damaged:
        return Finding(FindingState.PROBLEM, f"{text} is damaged", pull, data)
    if model.announced and not model.verified:
        return Finding(FindingState.WARNING, f"{text} is {state}", pull, data)
    text += ", with a valid header; it was not loaded"
    is_toy = is_toy_size(sum(header.n_params for header in headers))
    data["toy"] = is_toy
    if is_toy:
        return Finding(FindingState.OK, f"{text}; it {TOY_MEANING}", "For others: llm models recommend", data)
    return Finding(FindingState.OK, text, data=data)


def _check_path(ctx: CommandContext) -> Finding:
    found = find_executables("llm", ctx.runtime.environ)
    data = {"llm": [{"path": str(each.path), "llmcli": each.llmcli, "ours": each.same_installation} for each in found]}
    if not found:
        where = Path(sys.executable).parent
        return Finding(
            FindingState.WARNING, "llm is not on PATH", f"Add {where} to PATH, or run: python -m llmcli", data
        )
    first = found[0]
    if first.same_installation:
        others = [str(each.path) for each in found[1:] if not each.same_installation]
        text = f"llm is {first.path}" + (f"; behind it: {', '.join(others)}" if others else "")
        return Finding(FindingState.OK, text, data=data)
    if first.llmcli:
        text, advice = f"llm is {first.path}, another installation of llmcli", "Remove one, or change PATH."
    else:
        text, advice = f"llm is {first.path}, another program", "This program also runs as llmcli: llmcli doctor"
    return Finding(FindingState.WARNING, text, advice, data)


def _check_terminal(ctx: CommandContext) -> Finding:
    environment = ctx.console.environment
    named = {"stdin": environment.stdin, "stdout": environment.stdout, "stderr": environment.stderr}
    terminals = [name for name, descriptor in named.items() if environment.is_terminal(descriptor)]
    told = {
        name: environment.environ[name]
        for name in ("TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
        if name in environment.environ
    }
    columns = environment.columns(environment.stdout)
    words = [f"{', '.join(terminals) or 'no standard stream'} on a terminal", f"{columns} columns"]
    words += [f"{name}={value}" for name, value in told.items()]
    return Finding(FindingState.OK, ", ".join(words), data={"terminals": terminals, "columns": columns, **told})


def _check_directories(ctx: CommandContext) -> Finding:
    paths = {
        "configuration": ctx.runtime.paths.config,
        "data": ctx.runtime.paths.data,
        "cache": ctx.runtime.paths.cache,
    }
    data = {name: str(path) for name, path in paths.items()}
    nearest = dict.fromkeys(_nearest_existing(path) for path in paths.values())
    refused = [str(each) for each in nearest if not _is_writable(each)]
    if refused:
        text = f"{refused[0]} cannot be written"
        if refused[1:]:
            text = f"these cannot be written: {', '.join(refused)}"
        advice = "Make it writable, or choose another with LLMCLI_CONFIG_DIR, LLMCLI_DATA_DIR or LLMCLI_CACHE_DIR."
        return Finding(FindingState.WARNING, text, advice.replace("it", "them", 1) if refused[1:] else advice, data)
    text = ", ".join(dict.fromkeys(data.values()))
    return Finding(FindingState.OK, text, data=data)


CHECKS: dict[str, Callable[[CommandContext], Finding]] = {
    "versions": _check_versions,
    "llama.cpp": _check_llama_cpp,
    "cores": _check_cores,
    "memory": _check_memory,
    "gpu": _check_gpu,
    "worker": _check_worker,
    "configuration": _check_configuration,
    "directories": _check_directories,
    "provenance": _check_provenance,
    "prompts": _check_prompts,
    "models": _check_models,
    "default model": _check_default_model,
    "path": _check_path,
    "backends": reachability.check_backends,
    "network": reachability.check_network,
    "terminal": _check_terminal,
}
PROBES: dict[str, Callable[[CommandContext, Finding], Finding]] = {
    "backends": reachability.probe_backends,
    "network": reachability.probe_network,
}
"""The checks of ``llm doctor --network``, which extend a finding by connecting."""


_ENTRY_POINT = b"llmcli.cli.main"  # occurs in the script that installers write for our entry point
_LAUNCHER = b"\n# The command `llm`: it runs `llmcli`"  # cli/launcher.sh
_HEAD_BYTES = 8192  # bytes; such scripts are short


@frozen
class InstalledCommand:
    """An executable on PATH.

    ``llmcli``: whether it runs this program; ``same_installation``: whether with this Python.
    """

    path: Path
    llmcli: bool
    same_installation: bool


def find_executables(name: str, environ: Mapping[str, str]) -> list[InstalledCommand]:
    """Return the executables called ``name`` on PATH, in its order, each once."""
    found: dict[str, InstalledCommand] = {}
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(directory or ".") / name
        if path.is_file() and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), _inspect_executable(path))
    return list(found.values())


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _inspect_executable(path: Path) -> InstalledCommand:
    head = _read_head(path)
    if _LAUNCHER in head:
        head = _read_head(path.resolve().with_name("llmcli"))
    llmcli = _ENTRY_POINT in head
    # the interpreter is in the first line, or in the second if its path is too long for the first
    first_lines = b"\n".join(head.split(b"\n", 3)[:3])
    python = Path(sys.executable)
    beside = {os.fsencode(python.with_name(each)) for each in (python.name, "python", "python3")}
    return InstalledCommand(path, llmcli, llmcli and any(each in first_lines for each in beside))
