"""Value classes are those of ``fast_dataclass``, and a warm verb imports no module that it does not need."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from terminal import ROOT

PACKAGE = Path(__file__).parents[1] / "llmcli"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "fast_dataclass.py")
OPTIONS = ("--max-tokens", "8", "--seed", "1", "--temperature", "0")
VERBS = {
    "ask": ("hi", "--no-stdin", *OPTIONS),
    "sentiment": (),
    "classify": ("--labels", "a,b"),
    "summarize": OPTIONS,
    "translate": ("--to", "fr", *OPTIONS),
}
UNUSED = {
    "dataclasses",
    "inspect",
    "hashlib",
    "typer",
    "shutil",
    "subprocess",
    "difflib",
    "random",
    "datetime",
    "jinja2",
}
"""Modules of others that the first two verbs need not when warm; each takes 1 to 25 ms to import."""
WARM_VERB = """
import sys
from llmcli.cli.main import main

main(sys.argv[1:])
imported = sorted(sys.modules)
kinds = set()
for name in imported:
    if name.startswith("llmcli"):
        for value in vars(sys.modules[name]).values():
            if isinstance(value, type) and value.__module__ == name and "__dataclass_fields__" in vars(value):
                kinds.add(f"{name}:{'frozen' if '__own__' in vars(value) else 'generated'}")
print(*imported, *kinds, file=sys.stderr)
"""


@pytest.fixture
def warm_verbs(tiny, tried, monkeypatch):
    """Run each verb on a warm model; return the imported modules, and ``NAME:KIND`` for each kind of value in them."""
    tried(tiny("llama"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLMCLI_MODEL", str(tiny("llama")))
    monkeypatch.setenv("LLMCLI_WORKER", "on")

    def run(*argv: str) -> list[str]:
        command = [sys.executable, *argv]
        return subprocess.run(command, input="Hello.\n", capture_output=True, text=True, check=False).stderr.split()

    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        monkeypatch.setenv("LLMCLI_RUNTIME_DIR", runtime)
        try:
            for verb, words in VERBS.items():
                run("-m", "llmcli", verb, *words)
            return {verb: set(run("-c", WARM_VERB, verb, *words)) for verb, words in VERBS.items()}
        finally:
            run("-m", "llmcli", "worker", "stop")


@pytest.mark.slow
def test_frozen_is_for_modules_that_a_warm_verb_imports(warm_verbs):
    """No imported module uses ``dataclass``, and the first two verbs import nothing that only other runs need."""
    for verb, imported in warm_verbs.items():
        assert "llmcli.backends.worker_backend" in imported and "llmcli.engine.engine" not in imported, verb
        assert [each for each in imported if each.endswith(":generated")] == [], verb
    assert {verb: sorted(UNUSED & warm_verbs[verb]) for verb in ("ask", "sentiment")} == {"ask": [], "sentiment": []}


def test_there_is_one_kind_of_value_classes():
    """No module has a dataclass of the standard library."""
    assert [str(path) for path in FILES if re.search(r"@(dataclasses\.)?dataclass\b", path.read_text("utf-8"))] == []
