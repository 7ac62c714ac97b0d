"""What ``llm doctor`` looks at: each check is a function from a ``Context`` to a ``Finding``, and never fails itself."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from llmcli import __version__, private_files
from llmcli.cli import reachability, scripts, suggestion, wording
from llmcli.cli.context import Context
from llmcli.cli.findings import Finding, State
from llmcli.errors import LlmError, ModelNotHere, Unsupported


def examine(cli: Context, *, network: bool = False) -> Iterator[tuple[str, Finding]]:
    """Yield the name of every check and what it found; an error of ours that a check raises is a problem.

    ``network``: connections may be opened to see who answers.
    """
    for name, check in CHECKS.items():
        try:
            finding = check(cli)
            yield name, PROBES[name](cli, finding) if network and name in PROBES else finding
        except LlmError as error:
            happened, advice = wording.words(error)
            yield name, Finding(State.PROBLEM, happened, advice)


def _versions(_cli: Context) -> Finding:
    from llmcli.engine import native

    data = {
        "llmcli": __version__,
        "python": platform.python_version(),
        "llama_cpp_python": native.version(),
        "platform": platform.platform(),
    }
    text = f"llmcli {__version__}, Python {data['python']}, llama-cpp-python {data['llama_cpp_python']}"
    return Finding(State.OK, f"{text}, {data['platform']}", data=data)


def _llama_cpp(_cli: Context) -> Finding:
    from llmcli.engine import native

    try:
        info = native.system_info()
    except Unsupported as error:
        return Finding(State.PROBLEM, error.detail, "Try: pip install --force-reinstall llama-cpp-python")
    return Finding(State.OK, " ".join(info.split()), data={"system_info": info})


@dataclass(frozen=True, slots=True)
class _Measured:
    """A load that was measured before."""

    cores: float | None

    def others(self, *, rested: bool = False) -> float | None:
        del rested  # it was measured just now
        return self.cores


def _cores(cli: Context) -> Finding:
    from llmcli.engine import machine
    from llmcli.engine.threads import INTERVAL, Load, Threads

    cores, load = machine.cores(), Load()
    time.sleep(INTERVAL)
    others = load.others()
    wanted, origin = cli.settings["threads"], cli.settings.origin("threads")
    if wanted == "auto":
        chosen = Threads(cores.usable, load=_Measured(others))
        chosen.look()
        threads, why = chosen.pick(1), "as many as can compute at once now"
    else:
        threads, why = wanted, f"set by {origin}"
    quota = "no CPU quota" if cores.quota is None else f"a quota of {cores.quota:g} CPUs"
    busy = "the load of others is not known" if others is None else f"others keep {others:.1f} cores busy"
    measured = f"{cores.affinity} logical cores by affinity, {cores.physical} physical, {quota}, {busy}"
    text = f"threads: {threads}, {why}; {measured}"
    data = {**asdict(cores), "usable": cores.usable, "others": others, "threads": threads, "origin": origin}
    if threads > cores.affinity:
        return Finding(State.WARNING, text, f"Set threads to {cores.usable} or to auto.", data)
    return Finding(State.OK, text, data=data)


def _memory(_cli: Context) -> Finding:
    from llmcli.engine import machine

    free = machine.available_memory()
    if free is None:
        return Finding(State.UNTESTED, "this system does not say how much is free", data={"available": None})
    return Finding(State.OK, f"{wording.size(free)} can be allocated", data={"available": free})


def _gpu(cli: Context) -> Finding:
    from llmcli.engine import machine

    try:
        gpus = machine.gpus()
    except Unsupported:
        return Finding(State.WARNING, "not known without llama.cpp")
    data = {"devices": [{"name": gpu.name, "free": gpu.free, "total": gpu.total} for gpu in gpus]}
    if gpus:
        named = (f"{gpu.name} ({wording.size(gpu.free)} of {wording.size(gpu.total)} free)" for gpu in gpus)
        return Finding(State.OK, ", ".join(named), data=data)
    layers = cli.settings["gpu_layers"]
    if layers not in {"auto", 0}:
        text = f"gpu_layers is {layers} ({cli.settings.origin('gpu_layers')}), but this build offloads to no device"
        return Finding(State.WARNING, text, "Install a build of llama-cpp-python for your GPU.", data)
    return Finding(State.OK, "this build of llama.cpp offloads to no device; models run on the CPU", data=data)


def _worker(cli: Context) -> Finding:
    from llmcli.worker import place, start

    wanted, origin = cli.settings["worker"], cli.settings.origin("worker")
    if wanted == "off":
        return Finding(State.OK, f"off ({origin}); each command loads its model", data={"worker": wanted})
    try:
        directory = place.directory(cli.world.environ)
    except LlmError as error:
        advice = "Commands load their models themselves; make it yours alone (chmod 700), or set LLMCLI_RUNTIME_DIR."
        return Finding(State.WARNING, wording.words(error)[0], advice, {"worker": wanted})
    running = start.statuses(directory)
    named = ", ".join(f"{status['model']} (pid {status['pid']})" for status in running if start.answers(status))
    silent = [str(status["pid"]) for status in running if not start.answers(status)]
    data = {"worker": wanted, "directory": str(directory), "running": [status["pid"] for status in running]}
    if silent:
        return Finding(
            State.WARNING, f"pid {', '.join(silent)} does not answer", f"Try: llm worker stop {' '.join(silent)}", data
        )
    return Finding(State.OK, f"{named or 'none runs'}; sockets in {directory}", data=data)


def _configuration(cli: Context) -> Finding:
    file = cli.paths.config_file
    if cli.broken is not None:
        happened, _ = wording.words(cli.broken)
        return Finding(State.PROBLEM, happened, f"Try: llm config edit ({file})", {"path": str(file)})
    values = {
        name: {"value": setting.value, "origin": setting.origin}
        for name, setting in cli.settings.values.items()
        if setting.origin != "default"
    }
    changed = ", ".join(f"{name} = {each['value']} ({each['origin']})" for name, each in values.items())
    text = f"{file}{'' if private_files.exists(file) else ' (not there)'}; {changed or 'every setting has its default'}"
    return Finding(State.OK, text, data={"path": str(file), "settings": values})


def _prompts(cli: Context) -> Finding:
    problems = cli.prompts.check()
    text = f"{len(cli.prompts.names())} prompts; yours lie in {cli.prompts.user}"
    data = {"user": str(cli.prompts.user), "built_in": str(cli.prompts.builtin)}
    if problems:
        bad = ", ".join(dict.fromkeys(problem.name for problem in problems))
        return Finding(State.WARNING, f"something is wrong with {bad}", "Try: llm prompts check", data)
    return Finding(State.OK, text, data=data)


def _models(cli: Context) -> Finding:
    from llmcli.cli import shelf
    from llmcli.models.paths import hub_directory

    directory = hub_directory(cli.world.environ)
    here = cli.models.list()
    sizes = sum(model.size for model in here)
    existing = _existing(directory)
    free = shutil.disk_usage(existing).free
    data = {"directory": str(directory), "models": [model.name for model in here], "disk_free": free}
    count = "1 model" if len(here) == 1 else f"{len(here)} models"
    text = f"{count}, {wording.size(sizes)}, in {directory} ({wording.size(free)} free)"
    damaged = cli.models.damaged_registry()
    if damaged is not None:
        advice = "Pull imported files and set the default again, then delete that file."
        return Finding(State.WARNING, f"what llm remembered of models is damaged: {damaged}; {text}", advice, data)
    if not _writable(existing):
        return Finding(
            State.WARNING, f"{existing} cannot be written; {text}", "Make it writable, or set HF_HOME.", data
        )
    bad = {model.name: shelf.verification(model) for model in here if model.missing or model.damaged}
    if bad:
        named = ", ".join(f"{name} is {state}" for name, state in bad.items())
        return Finding(State.WARNING, f"{named}; {text}", "Try: llm models pull NAME, or: llm models rm NAME", data)
    if here:
        text += "; the bytes were not hashed again (llm models verify does)"
    return Finding(State.OK, text, data=data)


def _existing(path: Path) -> Path:
    """Return ``path`` or the nearest directory above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if private_files.exists(each))


def _writable(path: Path) -> bool:
    return private_files.exists(path) and path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _default_model(cli: Context) -> Finding:
    from llmcli.cli import shelf
    from llmcli.models.gguf import read_header

    name, origin = cli.models.default()
    data, pull = {"name": name, "origin": origin}, f"Try: {suggestion.command('models', 'pull', name)}"
    try:
        model = cli.models.find()
        for part in model.parts:
            read_header(part)
    except ModelNotHere:
        return Finding(State.WARNING, f"{name} ({origin}) is not here", pull, data)
    except LlmError as error:
        happened, advice = wording.words(error)
        return Finding(State.PROBLEM, f"{happened} ({origin})", advice, data)
    state = shelf.verification(model)
    data |= {"path": str(model.path), "verification": state}
    text = f"{name} ({origin}): {model.path}"
    if model.damaged:
        return Finding(State.PROBLEM, f"{text} is damaged", pull, data)
    if model.announced and not model.verified:
        return Finding(State.WARNING, f"{text} is {state}", pull, data)
    return Finding(State.OK, f"{text}, whose header is right; it was not loaded", data=data)


def _path(cli: Context) -> Finding:
    found = scripts.find("llm", cli.world.environ)
    data = {"llm": [{"path": str(each.path), "llmcli": each.llmcli, "ours": each.ours} for each in found]}
    if not found:
        where = Path(sys.executable).parent
        return Finding(State.WARNING, "no llm on PATH", f"Add {where} to PATH, or run: python -m llmcli", data)
    first = found[0]
    if first.ours:
        others = [str(each.path) for each in found[1:] if not each.ours]
        text = f"llm is {first.path}" + (f"; behind it: {', '.join(others)}" if others else "")
        return Finding(State.OK, text, data=data)
    if first.llmcli:
        text, advice = f"llm is {first.path}, another installation of llmcli", "Remove one, or change PATH."
    else:
        text, advice = f"llm is {first.path}, another program", "llmcli is the same command as this llm: llmcli doctor"
    return Finding(State.WARNING, text, advice, data)


def _terminal(cli: Context) -> Finding:
    world = cli.world
    named = {"stdin": world.stdin, "stdout": world.stdout, "stderr": world.stderr}
    terminals = [name for name, descriptor in named.items() if world.terminal(descriptor)]
    told = {
        name: world.environ[name] for name in ("TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR") if name in world.environ
    }
    columns = world.columns(world.stdout)
    words = [f"{', '.join(terminals) or 'nothing'} on a terminal", f"{columns} columns"]
    words += [f"{name}={value}" for name, value in told.items()]
    return Finding(State.OK, ", ".join(words), data={"terminals": terminals, "columns": columns, **told})


def _directories(cli: Context) -> Finding:
    paths = {"configuration": cli.paths.config, "data": cli.paths.data, "cache": cli.paths.cache}
    data = {name: str(path) for name, path in paths.items()}
    for path in paths.values():
        existing = _existing(path)
        if not _writable(existing):
            advice = "Make it writable, or name another with LLMCLI_CONFIG_DIR, LLMCLI_DATA_DIR or LLMCLI_CACHE_DIR."
            return Finding(State.WARNING, f"{existing} cannot be written", advice, data)
    text = ", ".join(dict.fromkeys(data.values()))
    return Finding(State.OK, text, data=data)


CHECKS: dict[str, Callable[[Context], Finding]] = {
    "versions": _versions,
    "llama.cpp": _llama_cpp,
    "cores": _cores,
    "memory": _memory,
    "gpu": _gpu,
    "worker": _worker,
    "configuration": _configuration,
    "directories": _directories,
    "prompts": _prompts,
    "models": _models,
    "default model": _default_model,
    "path": _path,
    "backends": reachability.backends,
    "network": reachability.network,
    "terminal": _terminal,
}
PROBES: dict[str, Callable[[Context, Finding], Finding]] = {
    "backends": reachability.probe_backends,
    "network": reachability.probe_network,
}
"""What ``llm doctor --network`` makes of what a check found, by asking."""
