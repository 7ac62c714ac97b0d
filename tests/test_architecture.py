"""The arrows between the rooms, and other rules that a reader of the code may rely on."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "llmcli"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_prompts" not in path.parts)
LEAVES = {
    "atomic_file",
    "child_processes",
    "control_characters",
    "errors",
    "file_lock",
    "frozen_dataclass",
    "http_server",
    "incomplete_results",
    "interrupt",
    "job_queue",
    "private_files",
    "server_config",
    "settings",
    "template_sandbox",
    "text_stream",
    "types",
    "",
}  # "" is the package itself: its version
ROOMS = {
    "cli": None,  # may use everything
    "runtime": {"backends", "models", "prompts", "worker", "engine", "cli"},  # cli while it takes a CommandContext
    "tasks": {"prompts", "documents", "store", "backends"},
    "backends": {"openai_api", "worker", "engine"},
    "serve": {"openai_api", "worker"},
    "worker": {"openai_api", "engine"},
    "openai_api": set(),
    "engine": {"models"},  # of models only the GGUF header and what follows from it
    "models": set(),
    "store": set(),
    "documents": set(),
    "prompts": set(),
}
NARROW = {
    ("tasks", "backends"): {"llmcli.backends.base"},
    ("engine", "models"): {"llmcli.models.gguf.header", "llmcli.models.footprint"},
}
COMMAND_FILES = [
    path for path in sorted((PACKAGE / "cli" / "commands").rglob("*.py")) if "@command(" in path.read_text("utf-8")
]
ONLY_IN = {
    "typer": "cli",
    "rich": "cli",
    "prompt_toolkit": "cli",
    "llama_cpp": "engine",
    "huggingface_hub": "models",
}
LONGEST = 400


@functools.cache
def read(path):
    """Return (module, line) of every import in a file, also those inside functions, and the lines of calls of print."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return tuple(_imported(path, nodes)), [call.lineno for call in calls if call.func.id == "print"]


def imports(path):
    return read(path)[0]


def _imported(path, nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "llmcli":
            yield from ((f"llmcli.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", node.lineno


def room(path):
    """Return the room of a file, or the name of a module at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def target(module):
    """Return the room that a module of ours lies in, None for a third-party module."""
    parts = module.split(".")
    if parts[0] != "llmcli":
        return None
    return parts[1] if len(parts) > 1 and not parts[1].startswith("__") else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_where_the_design_says(path):
    """A room imports only what stands below it."""
    here = room(path)
    allowed = ROOMS.get(here, set()) if here != "__main__" else None
    for module, line in imports(path):
        there = target(module)
        if there is None or allowed is None or there in LEAVES or there == here:
            continue
        assert there in allowed, f"{path}:{line}: {here} must not import {module}"
        only = NARROW.get((here, there))
        assert only is None or module in only, f"{path}:{line}: {here} may import {only}, not {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_one_importer(path):
    """A library that decides much is imported in one room."""
    for module, line in imports(path):
        owner = ONLY_IN.get(module.split(".")[0])
        assert owner in {None, room(path)}, f"{path}:{line}: {module} belongs to {owner}"
        assert module.split(".")[0] != "click", f"{path}:{line}: only Typer's public API"
        assert not any(part.startswith("_") for part in module.split(".") if module.startswith("typer."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_short(path):
    """A module that outgrows its limit wants to be two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_names_of_modules_are_unique():
    """A module's name says what it holds, also without its package; a command has the name of what the user types."""
    commands = PACKAGE / "cli" / "commands"
    names = [path.name for path in FILES if path.parent != commands and path.name not in {"__init__.py", "__main__.py"}]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_speaks(path):
    """Nothing outside cli/ prints."""
    if room(path) == "cli":
        return
    prints = read(path)[1]
    assert not prints, f"{path}:{prints}: print"


@pytest.mark.parametrize("path", COMMAND_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_commands_are_short(path):
    """A command parses, calls one task and shows the result: 25 lines of body at most."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 25, f"{path}: {node.name} has {length} lines"


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("worker/server", "llmcli.worker.client"),
        ("worker/client", "llmcli.worker.server"),
        ("worker/client", "llmcli.engine"),
    ],
)
def test_the_two_sides_of_the_worker_share_only_what_lies_beside_them(folder, forbidden):
    """A command does not load what serves, and the process not what connects."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for module, line in imports(path):
            assert not f"{module}.".startswith(f"{forbidden}."), f"{path}:{line}: {folder} must not import {module}"


def test_only_responses_of_a_server_need_starlette():
    """A client shares fields, requests and the format of responses, and does not pay for a server."""
    for path in sorted((PACKAGE / "openai_api").glob("*.py")):
        libraries = {module.split(".")[0] for module, _ in imports(path)}
        assert path.name == "http_errors.py" or "starlette" not in libraries, f"{path}: imports starlette"


def test_what_both_sides_of_the_worker_use_imports_neither():
    """Only ``__main__`` knows the process."""
    for path in sorted((PACKAGE / "worker").glob("*.py")):
        for module, line in imports(path):
            sides = ("llmcli.worker.client", "llmcli.worker.server")
            assert path.name == "__main__.py" or not module.startswith(sides), f"{path}:{line}: imports {module}"
