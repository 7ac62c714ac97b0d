"""Labels of the starter model through ``llm serve`` are those of a command on the server's machine, byte for byte."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
import yaml

from .conftest import ROOT, TOKEN, serving

pytestmark = pytest.mark.real

MODEL = "smollm2-135m"
NUM_ROWS = 120
HOME = Path(platformdirs.user_cache_dir("llmcli-tests", appauthor=False))
STORES = {"LLMCLI_DATA_DIR": str(HOME / "data"), "HF_HOME": str(HOME / "huggingface"), "LLMCLI_TUNE": "auto"}


@pytest.fixture(scope="module", autouse=True)
def starter():
    """Pull the starter model if it is missing."""
    command = [sys.executable, "-m", "llmcli", "models", "pull", MODEL]
    own = {f"LLMCLI_{kind}_DIR": str(HOME / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
    environ = {**os.environ, **own, **STORES, "HF_ENDPOINT": "http://127.0.0.1:9"}  # it is in the package index too
    subprocess.run(command, check=True, env=environ, cwd=ROOT, timeout=600)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Return the paths of a table with texts, and of one with labelled texts.

    Its labels are exchanged: so a calibration gains something over the probe, which was fitted to these texts.
    """
    labelled = yaml.safe_load((ROOT / "llmcli" / "tasks" / "sentiment_texts.yaml").read_text())
    rows = sorted((text, label) for label, texts in labelled.items() for text in texts)
    directory = tmp_path_factory.mktemp("tables")
    exchanged = {"positive": "negative", "negative": "positive"}
    swapped = [(text, exchanged.get(label, label)) for text, label in rows[NUM_ROWS:]]
    return _write(directory / "texts.csv", [*rows[:NUM_ROWS]]), _write(directory / "labelled.csv", swapped)


def _write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "mood"), *rows])
    return str(path)


@pytest.fixture
def client(tmp_path):
    """Return the environment of a client of the servers at the addresses given: it has no model and no worker."""

    def make(*urls):
        env = {f"LLMCLI_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
        (tmp_path / "config").mkdir(exist_ok=True)
        farm = {"type": "openai", "key_env": "FARM_KEY", "base_urls": urls}
        (tmp_path / "config" / "config.yaml").write_text(json.dumps({"backends": {"farm": farm}, "backend": "farm"}))
        return {**env, "LLMCLI_WORKER": "off", "HF_HOME": str(tmp_path), "LLMCLI_MODEL": "nothing", "FARM_KEY": TOKEN}

    return make


def run(served, *argv, env=None):
    """Return what a command prints."""
    done = served.llm(*argv, env=env, timeout=900)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_labels_are_the_same_for_clients_at_once_and_after_a_restart(tables, client):
    """Also with two servers behind one backend. The weights are those that label here: 16 bits, in a copy."""
    texts, _ = tables
    argv = ("sentiment", texts)
    with serving(MODEL, **STORES) as served, serving(MODEL, **STORES) as other:
        expected = run(served, *argv, "--set", "worker=off")
        assert expected.count(b"\n") == NUM_ROWS + 1
        env, command = {**served.environ, **client(served.url)}, [sys.executable, "-m", "llmcli", *argv]
        at_once = [
            subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(2)
        ]
        assert [process.communicate(timeout=900)[0] for process in at_once] == [expected] * 2
        assert run(served, *argv, env=client(served.url, other.url)) == expected
    with serving(MODEL, **STORES) as restarted:
        assert run(restarted, *argv, env=client(restarted.url)) == expected
        first = json.loads(run(restarted, *argv, "--limit", "1", "--json", env=client(restarted.url)))
    assert first["weights"] in {"bf16", "f16"} and "scoring" not in first


def test_a_calibration_is_the_same_calibration(tables, client):
    """Fitted on either machine, it is one for the other, and gives the same labels."""
    texts, labelled = tables
    fit = ("sentiment", "--calibrate", labelled, "--label-column", "mood", "--calibration", "moods")
    label = ("sentiment", texts, "--limit", "60", "--calibration", "moods")
    with serving(MODEL, **STORES) as served:
        env = client(served.url)
        here = {"LLMCLI_DATA_DIR": env["LLMCLI_DATA_DIR"], "LLMCLI_MODEL": str(_starter_file())}
        run(served, *fit, "-q", env=env)
        through_server = run(served, *label, env=env)
        assert run(served, *label, "--set", "worker=off", env=here) == through_server
        (Path(env["LLMCLI_DATA_DIR"]) / "calibrations").rename(Path(env["LLMCLI_DATA_DIR"]) / "other")
        run(served, *fit, "-q", "--set", "worker=off", env=here)
        assert run(served, *label, "--set", "worker=off", env=here) == through_server


def _starter_file():
    (path,) = (HOME / "huggingface" / "hub").glob("models--*/snapshots/*/SmolLM2-135M-Instruct.Q4_1.gguf")
    return path
