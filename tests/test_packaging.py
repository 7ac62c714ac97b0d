"""The wheel that users install: built, installed elsewhere and run."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from this checkout."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel into its own directory, without its dependencies (this environment has them)."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return target


def llm(installed, *words, cwd, script="llm"):
    """Run the installed command line away from the checkout."""
    env = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [installed / "bin" / script, *words], capture_output=True, text=True, cwd=cwd, env=env, check=False
    )


def test_wheel_holds_all_that_is_data(wheel):
    """Everything that is data travels with the code."""
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("llmcli/_prompts/summarize.yaml", "llmcli/_prompts/generate/email.yaml", "llmcli/py.typed"):
        assert wanted in names
    assert "llmcli/models/catalogue.yaml" in names
    assert {f"llmcli/tasks/audit/swaps/{name}" for name in ("names.yaml", "templates.txt")} <= set(names)
    check_data = {path.name for path in (ROOT / "llmcli" / "engine" / "check_data").iterdir()}
    assert {f"llmcli/engine/check_data/{name}" for name in check_data} <= set(names)
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").glob("*.md")} | {
        "reference/exit-codes.md"
    }
    assert {f"llmcli/_docs/{page}" for page in pages} == {name for name in names if name.startswith("llmcli/_docs/")}
    for wanted in ("bash-completion/completions/llm", "zsh/site-functions/_llm", "fish/vendor_completions.d/llm.fish"):
        assert any(name.endswith(f".data/data/share/{wanted}") for name in names)
    assert any(name.endswith(".data/scripts/llm") for name in names)
    for page in (ROOT / "docs" / "man").iterdir():
        assert any(name.endswith(f".data/data/share/man/man1/{page.name}") for name in names)
    assert any(name.endswith("LICENSE") for name in names)


@pytest.mark.slow
def test_installed_wheel_runs_elsewhere_with_its_own_prompts(installed, tmp_path):
    """The installed tool finds the prompt files of its own package."""
    run = llm(installed, "prompts", "list", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert '"summarize"' in run.stdout
    assert "_prompts" in llm(installed, "prompts", "list", "--json", cwd=tmp_path).stdout


def test_installed_wheel_has_the_documentation(installed, tmp_path):
    """The installed tool shows and searches the pages, without the checkout."""
    run = llm(installed, "help", "exit-codes", cwd=tmp_path)
    assert run.stdout == (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    assert llm(installed, "help", "3", cwd=tmp_path).stdout.startswith("exit-codes\tExit codes\t3: Partial")


def test_installed_wheel_answers(installed, tiny, tmp_path):
    """The installed tool runs a model."""
    run = llm(installed, "ask", "-m", str(tiny("chatml")), "--max-tokens", "3", "hello", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("\n")


@pytest.mark.slow
def test_both_scripts_are_the_same_command(installed, tmp_path):
    """The shell script llm starts the Python script llmcli."""
    runs = [llm(installed, "--version", cwd=tmp_path, script=script) for script in ("llm", "llmcli")]
    assert [(run.returncode, run.stdout) for run in runs] == [(0, runs[0].stdout)] * 2, runs
    assert runs[0].stdout.startswith("llm ")
