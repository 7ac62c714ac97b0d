"""The imports between the packages, and other rules that a reader of the code can rely on."""

from __future__ import annotations

import ast
import collections
import contextlib
import functools
import graphlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "llmcli"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_prompts" not in path.parts)
LEAVES = {
    "files",
    "child_processes",
    "engine_library",
    "control_characters",
    "weights_times",
    "yaml_file",
    "errors",
    "fast_dataclass",
    "http_server",
    "interrupt",
    "schema_validation",
    "job_queue",
    "address_space",
    "machine_needs",
    "redaction",
    "config",
    "app_paths",
    "settings",
    "state_layers",
    "template_sandbox",
    "text_stream",
    "types",
    "",
}  # "" is the package itself: its version
ROOMS = {
    "cli": None,  # may use everything
    "ray": {"cli", "runtime", "tasks", "prompts", "documents", "backends", "models"},
    "runtime": {"backends", "models", "prompts", "worker", "engine", "engine_packages", "network"},
    "engine_packages": {"models", "network"},
    "page_fetcher": {"network"},
    "tasks": {"prompts", "documents", "store", "backends", "openai_api"},
    "backends": {"openai_api", "worker", "engine", "network"},
    "serve": {"anthropic_api", "openai_api", "worker"},
    "worker": {"anthropic_api", "openai_api", "engine"},
    "anthropic_api": {"openai_api"},
    "openai_api": set(),
    "engine": {"models"},  # of models only the GGUF header and what follows from it
    "models": {"network"},
    "network": set(),
    "store": set(),
    "documents": {"provenance"},
    "prompts": set(),
    "provenance": set(),
}
NARROW = {
    ("ray", "cli"): {
        "llmcli.cli.console",
        "llmcli.cli.console.error_messages",
    },  # the texts of errors are those of a row
    ("tasks", "backends"): {"llmcli.backends.base"},
    ("documents", "provenance"): {"llmcli.provenance.statement"},  # statements are no documents of a directory
    ("engine_packages", "models"): {
        "llmcli.models.files.file_bytes",
        "llmcli.models.files.paths",
    },
    ("engine", "models"): {
        "llmcli.models.gguf.header",
        "llmcli.models.gguf.header_parser",
        "llmcli.models.footprint",
        "llmcli.models.files.file_bytes",
        "llmcli.models.files.names",
        "llmcli.models.gguf.tensor_types",
        "llmcli.models.library.derived_weights",
    },
}
COMMAND_FILES = [
    path for path in sorted((PACKAGE / "cli" / "commands").rglob("*.py")) if "@command(" in path.read_text("utf-8")
]
ONLY_IN = {
    "typer": "cli",
    "rich": "cli",
    "prompt_toolkit": "cli",
    "llama_cpp": "engine",
    "llguidance": "engine",
    "huggingface_hub": "models",
    "httpcore2": ("network", "backends", "page_fetcher"),
    "httpx2": ("network", "models", "engine_packages"),
    "socksio": "network",
}
MAX_LINES = 600
COMMANDS = ("cli", "commands")


class Source(NamedTuple):
    """What the rules are about in a file: its tree takes a hundred times the memory."""

    docstring: str
    statements: int
    imports: list[ast.Import | ast.ImportFrom]
    prints: list[int]
    classes: list[tuple[str, int]]
    functions: list[tuple[str, int]]
    names: set[str]


@functools.cache
def read(path):
    """Return the imports of a file, also inside functions, the lines of calls of print, its classes, and the rest."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    statements = list(_statements(tree))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if re.search(r"\bprint\(", text) else []
    return Source(
        ast.get_docstring(tree) or "",
        sum(isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)) for node in statements),
        [node for node in statements if isinstance(node, (ast.Import, ast.ImportFrom))],
        [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"],
        [(node.name, node.lineno) for node in statements if isinstance(node, ast.ClassDef)],
        [(node.name, _body_length(node)) for node in statements if isinstance(node, ast.FunctionDef)],
        set().union(*map(_defined_names, statements)),
    )


def _statements(node):
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, field, ()):
            yield inner
            yield from _statements(inner)


def _body_length(node):
    """Return the number of lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _defined_names(node):
    """Return the names that a statement gives to its module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name.id for each in targets for name in ast.walk(each) if isinstance(name, ast.Name)}
    return set()


def imports(path):
    """Return (module, line) of every import."""
    return tuple(_imported(path))


def _imported(path):
    for node in read(path).imports:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "llmcli":
            yield from ((f"llmcli.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", node.lineno


def room(path):
    """Return the room (the package directly in llmcli) of a file, or the name of a module directly in llmcli."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def target(module):
    """Return the package group of one of our modules, None for a third-party module."""
    parts = module.split(".")
    if parts[0] != "llmcli":
        return None
    return parts[1] if len(parts) > 1 and not parts[1].startswith("__") else ""


def module_of(path):
    """Return the dotted name of one of our files."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def module_graph():
    """Return for each of our modules those that it imports, also inside functions and for types only."""
    modules = {module_of(path): path for path in FILES}
    graph = {}
    for module, path in modules.items():
        nodes = read(path).imports
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                qualified = [f"{node.module}.{alias.name}" for alias in node.names]
                names += [name if name in modules else node.module for name in qualified]
        graph[module] = {name for name in names if name in modules} - {module}
    return graph


def find_circles(graph):
    """Return the sorted names of each import cycle."""
    with contextlib.suppress(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()
        return []
    reached = {module: reachable(graph, module) for module in graph}
    found = {tuple(sorted(o for o in reached[m] if m in reached[o])) for m in graph if m in reached[m]}
    return sorted(found)


def reachable(graph, start):
    """Return everything reachable from ``start``; ``start`` itself only if it is on a cycle."""
    reached, ahead = set(), list(graph[start])
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += graph[module]
    return reached


def package_graph(graph, room):
    """Return the imports between the packages and the modules directly in a room."""
    packages = {}
    for module, imported in graph.items():
        here = _child_of(room, module)
        if here is not None:
            packages.setdefault(here, set()).update({_child_of(room, there) for there in imported} - {here, None})
    return packages


def _child_of(room, module):
    parts = module.split(".")
    return ".".join(parts[:3]) if parts[1:2] == [room] and len(parts) > 2 else None


def test_no_modules_import_each_other():
    """Each module can be understood with only the modules below it."""
    assert find_circles(module_graph()) == []


def test_the_packages_of_the_engine_are_layered():
    """Native calls are below text, sampling and sequences, these below the cache, and that below the scheduler."""
    assert find_circles(package_graph(module_graph(), "engine")) == []


def test_circles_are_found():
    """Longer ones too, and only the modules on them."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"g"}, "g": {"e", "a"}}
    assert find_circles(graph) == [("b", "c"), ("e", "f", "g")]


def is_allowed(path, module):
    """Return whether a file may import a module: modules directly in llmcli import only each other."""
    here, there = room(path), target(module)
    allowed = ROOMS.get(here, set()) if here != "__main__" else None
    if there is None or allowed is None or there in LEAVES or there == here:
        return True
    only = NARROW.get((here, there))
    return there in allowed and (only is None or module in only)


def has_right_owner(path, module):
    """Return whether a file is in the room of the library that it imports; only Typer's public API is used."""
    library, *inside = module.split(".")
    private = library == "typer" and any(part.startswith("_") for part in inside)
    owners = ONLY_IN.get(library)
    return (
        (owners is None or room(path) in (owners if isinstance(owners, tuple) else (owners,)))
        and library != "click"
        and not private
    )


@pytest.mark.parametrize("rule", [is_allowed, has_right_owner])
def test_imports_follow_the_rules(rule):
    """A room imports only rooms below it, and each important library is imported in one room only."""
    found = [(path, module, line) for path in FILES for module, line in imports(path) if not rule(path, module)]
    assert [f"{path}:{line}: {module}" for path, module, line in found] == []


def test_benchmarks_import_what_there_is():
    """No test runs them, so that a name that was changed would be noticed too late."""
    modules = {module_of(path): path for path in FILES}
    missing = []
    for path in sorted((PACKAGE.parent / "benchmarks").rglob("*.py")):
        for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and target(node.module or "") is not None:
                known = read(modules[node.module]).names if node.module in modules else set()
                names = [alias.name for alias in node.names if f"{node.module}.{alias.name}" not in modules]
                missing += [f"{path.name}:{node.lineno}: {name}" for name in names if name not in known]
    assert missing == []


def test_modules_stay_short():
    """A longer module holds two ideas."""
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_module_docstrings_name_their_subject():
    """The first sentence says what a module is or does, instead of a question that it answers."""
    assert [str(path) for path in FILES if re.match(r"(What|Which|How)\b", read(path).docstring)] == []


def test_packages_have_modules():
    """One without any is a leftover of modules that moved."""
    parents = {path.parent for path in FILES if path.stem != "__init__" or read(path).statements > 0}
    parents |= {above for folder in parents for above in folder.parents}
    assert [str(path.parent) for path in FILES if path.stem == "__init__" and path.parent not in parents] == []


def test_class_names_are_unique():
    """You find a class by searching for its name alone."""
    places = collections.defaultdict(list)
    for path in FILES:
        for name, line in read(path).classes:
            places[name].append(f"{path}:{line}")
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_module_names_are_unique():
    """You find a module by its name alone; only a command may share the name of its task or of a package."""
    modules = [path for path in FILES if path.stem not in {"__init__", "__main__"}]
    named = collections.Counter(path.stem for path in modules if path.relative_to(PACKAGE).parts[:-1] != COMMANDS)
    assert not {name for name, count in named.items() if count > 1}
    commands = {path.stem for path in modules if path.relative_to(PACKAGE).parts[:-1] == COMMANDS}
    tasks = {path.stem for path in modules if path.relative_to(PACKAGE).parts[0] == "tasks"}
    assert commands & named.keys() <= tasks


def test_only_the_command_line_prints():
    """Code outside cli/ prints nothing."""
    assert [f"{path}:{line}" for path in FILES if room(path) != "cli" for line in read(path).prints] == []


def test_commands_are_short():
    """A command parses, calls one task and shows the result: 25 lines of body at most."""
    lengths = [(path, name, length) for path in COMMAND_FILES for name, length in read(path).functions]
    assert [f"{path}: {name} has {length} lines" for path, name, length in lengths if length > 25] == []


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("worker/server", "llmcli.worker.client"),
        ("worker/client", "llmcli.worker.server"),
        ("worker/client", "llmcli.engine"),
    ],
)
def test_both_sides_of_the_worker_share_only_the_modules_beside_them(folder, forbidden):
    """A command does not load the server side, and the process does not load the client side."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for module, line in imports(path):
            assert not f"{module}.".startswith(f"{forbidden}."), f"{path}:{line}: {folder} must not import {module}"


def test_only_server_responses_need_starlette():
    """A client shares fields, requests and the format of responses without importing server code."""
    for path in sorted([*(PACKAGE / "openai_api").glob("*.py"), *(PACKAGE / "anthropic_api").glob("*.py")]):
        libraries = {module.split(".")[0] for module, _ in imports(path)}
        assert path.name.endswith("http_errors.py") or "starlette" not in libraries, f"{path}: imports starlette"


def test_shared_worker_modules_import_neither_side():
    """Only ``__main__`` imports the process."""
    for path in sorted((PACKAGE / "worker").glob("*.py")):
        for module, line in imports(path):
            sides = ("llmcli.worker.client", "llmcli.worker.server")
            assert path.name == "__main__.py" or not module.startswith(sides), f"{path}:{line}: imports {module}"
