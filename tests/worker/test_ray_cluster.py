"""Ray on nodes of this machine, one of which is killed: the extra ``ray`` is needed (marker ``ray``)."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.ray
LABELS = "delivery,quality,price"
ROWS = 96
SECTION = (ROOT / "docs" / "shards.md").read_text("utf-8").partition("\n## Ray\n")[2].partition("\n## ")[0]
(PAGE_SCRIPT,) = re.findall(r"^```python\n(.*?)```", SECTION, re.MULTILINE | re.DOTALL)
(START,) = re.findall(r"`((?:RAY_\w+=0 )+)ray start ...`", SECTION)


@pytest.fixture
def run_script(shell, tmp_path):
    """Return a function that runs a Python script on nodes that were started as the page says; it returns what that prints."""
    if importlib.util.find_spec("ray") is None:
        pytest.fail("Ray is not installed: pip install -e '.[ray]'")
    directory = shell.runtime / "ray"
    directory.mkdir()
    steering = dict(pair.split("=") for pair in START.split())
    own = {"HOME": str(tmp_path), "RAY_TMPDIR": str(directory), "RAY_USAGE_STATS_ENABLED": "0"}
    environ = shell.environ(**own, **steering)

    def run(*argv):
        command = [sys.executable, *argv]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout.decode()

    return run


@pytest.fixture
def reviews(tmp_path):
    """Write records."""
    path = tmp_path / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((number, f"review {number * number}") for number in range(ROWS))])
    return path


@pytest.fixture
def wanted(shell, reviews, tmp_path):
    """Return the rows of ``llm classify``."""
    path = tmp_path / "wanted.csv"
    done = shell("classify", "--labels", LABELS, "--column", "text", str(reviews), "-o", str(path))
    assert done.code == 0, done.err
    return read_rows(path)


def read_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_node_changes_nothing(shell, run_script, reviews, wanted, tmp_path):
    """The output has each row once, with the labels of ``llm classify``; all actors have used the worker of the node."""
    output, script = tmp_path / "out.jsonl", Path(__file__).with_name("ray_job.py")
    said = run_script(str(script), str(reviews), str(output), str(shell.runtime / "ray"), LABELS)
    assert json.loads(said.splitlines()[-1])["alive"] == 1
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [{name: str(value) for name, value in row.items()} for row in rows] == wanted
    assert shell.worker()["requests"] >= 2 * ROWS


def test_the_script_of_the_page(run_script, wanted, tmp_path):
    """It keeps the order of the rows."""
    run_script("-c", PAGE_SCRIPT)
    rows = [row for path in sorted((tmp_path / "topics").glob("*.csv")) for row in read_rows(path)]
    assert [{name: value for name, value in row.items() if name != "error"} for row in rows] == [
        {name: value for name, value in row.items() if name != "error"} for row in wanted
    ]
    assert not any(row["error"] for row in rows)
