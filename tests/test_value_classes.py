"""The two kinds of frozen values: which modules use which one. ``frozen_dataclass`` has the rule."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from terminal import ROOT

PACKAGE = Path(__file__).parents[1] / "llmcli"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "frozen_dataclass.py")
QUESTION = ("hi", "--max-tokens", "8", "--seed", "1", "--temperature", "0")
WARM_ASK = """
import dataclasses, inspect, sys
from llmcli.cli.main import main
from llmcli import frozen_dataclass

code = main(["ask", *sys.argv[1:]])
found = {}
for name, module in list(sys.modules.items()):
    if name.startswith("llmcli"):
        made = [
            value for value in vars(module).values()
            if inspect.isclass(value) and value.__module__ == name and "__dataclass_fields__" in vars(value)
        ]
        found[name] = {"frozen" if "__own__" in vars(each) else "generated" for each in made}
print(code, *sorted(f"{name}:{kind}" for name, kinds in found.items() for kind in kinds), file=sys.stderr)
"""


@pytest.fixture
def warm_ask(tiny, tried, monkeypatch):
    """Run ``llm ask`` on a warm model; return the imported modules that define values, each with ``:`` and the kind."""
    tried(tiny("llama"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLMCLI_MODEL", str(tiny("llama")))
    monkeypatch.setenv("LLMCLI_WORKER", "on")

    def run(*argv: str) -> str:
        command = [sys.executable, *argv]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr

    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        monkeypatch.setenv("LLMCLI_RUNTIME_DIR", runtime)
        run("-m", "llmcli", "ask", *QUESTION)
        try:
            code, *found = run("-c", WARM_ASK, *QUESTION).split()
        finally:
            run("-m", "llmcli", "worker", "stop")
    assert code == "0", (code, found)
    return found


EXTENSIONS = {"llmcli.cli.classification.scoring_flags"}
"""Modules whose classes add fields to those that a warm command imports, and so have to be of their kind."""


def test_frozen_is_for_modules_that_a_warm_command_imports(warm_ask):
    """No imported module uses ``dataclass``, and no other module uses ``frozen``."""
    assert [each for each in warm_ask if each.endswith(":generated")] == []
    users = [path for path in FILES if "import frozen\n" in path.read_text(encoding="utf-8")]
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in users} - EXTENSIONS
    assert names == {each.partition(":")[0] for each in warm_ask}


def test_other_values_have_slots():
    """Dataclasses have slots, unless they cache a property."""
    without = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                generated = [each for each in map(ast.unparse, node.decorator_list) if each.startswith("dataclass")]
                slotted = not generated or "slots=True" in generated[0]
                if not slotted and "@cached_property" not in ast.unparse(node):
                    without.append(f"{path}:{node.lineno}: {node.name}")
    assert without == []
