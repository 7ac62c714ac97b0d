"""``llm keys``: keys are stored for their user alone, listed by their place, and never shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from remote_config import CANARY, configure
from terminal import ended


@pytest.fixture
def stored():
    """Return the directory of stored keys."""
    return Path(os.environ["LLMCLI_CONFIG_DIR"]) / "keys"


def test_a_key_comes_from_a_pipe(llm, stored):
    """Its first line, into a file for its user alone; nothing is printed."""
    run = llm("keys", "set", "openai", stdin=f"  {CANARY}\r\nmore\n".encode())
    assert (run.code, run.out, run.err) == (0, "", "")
    assert (stored / "openai").read_text() == f"{CANARY}\n"
    assert stat.S_IMODE((stored / "openai").stat().st_mode) == 0o600
    assert stat.S_IMODE(stored.stat().st_mode) == 0o700
    assert llm("keys", "set", "openai", stdin=b"sk-new").code == 0
    assert (stored / "openai").read_text() == "sk-new\n" and [each.name for each in stored.iterdir()] == ["openai"]


def test_set_in_json_says_where(llm, stored):
    """And not what."""
    run = llm("keys", "set", "openai", "--json", stdin=CANARY.encode())
    assert json.loads(run.out) == {"backend": "openai", "path": str(stored / "openai")} and CANARY not in run.err


def test_a_key_is_typed_without_echo(person, stored):
    """The question is on the terminal, the key is not; the terminal echoes again afterwards."""
    child = person("keys", "set", "openai")
    child.expect(r"Key of openai \(not shown\): ")
    child.sendline(CANARY)
    child.expect("stored the key of openai")
    shown = child.before + child.after
    assert ended(child) == 0 and CANARY not in shown
    assert (stored / "openai").read_text() == f"{CANARY}\n"


def test_ctrl_c_stores_nothing(person, stored):
    """While it is typed."""
    child = person("keys", "set", "openai")
    child.expect("not shown")
    child.send(CANARY[:4])
    child.sendintr()
    assert ended(child) == -2 and not stored.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [(b"", "the key"), (b"\n", "the key"), (b"two words\n", "invalid in a key"), (b"\xff\n", "invalid")],
)
def test_what_is_no_key_is_refused(llm, stored, typed, words):
    """65, and nothing is stored."""
    run = llm("keys", "set", "openai", stdin=typed)
    assert run.code == 65 and words in run.err and not stored.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("opnai", "Did you mean openai?"), ("../x", "is no name"), ("local", "is no name"), (".x", "is no name")],
)
def test_a_key_belongs_to_a_backend(llm, stored, name, words):
    """2 for a name that none has, with the next step."""
    run = llm("keys", "set", name, stdin=CANARY.encode())
    assert run.code == 2 and words in run.err and not stored.exists()


def test_a_directory_that_cannot_be_written_is_73(llm, stored):
    """The path is named."""
    stored.parent.mkdir(parents=True)
    stored.write_text("")
    run = llm("keys", "set", "openai", stdin=CANARY.encode())
    assert run.code == 73 and str(stored) in run.err and CANARY not in run.err


def test_list_shows_places_and_no_keys(llm, stored):
    """Stored ones, variables that are used, files of the configuration, and keys that are left of removed backends."""
    configure(work={"base_url": "https://work/v1", "key_env": "WORK_KEY"}, old={"base_url": "https://old/v1"})
    for name in ("openai", "old"):
        assert llm("keys", "set", name, stdin=CANARY.encode()).code == 0
    configure(work={"base_url": "https://work/v1", "key_env": "WORK_KEY"})
    env = {"WORK_KEY": CANARY, "GROQ_API_KEY": CANARY}
    run = llm("keys", "list", env=env)
    assert run.out.splitlines() == [
        "groq\tGROQ_API_KEY",
        f"old\t{stored / 'old'}",
        f"openai\t{stored / 'openai'}",
        "work\tWORK_KEY",
    ]
    rows = [json.loads(line) for line in llm("keys", "list", "--json", env=env).out.splitlines()]
    assert rows[0] == {"backend": "groq", "key": "GROQ_API_KEY"} and CANARY not in run.out + run.err


def test_list_without_keys(llm, terminal):
    """A person hears how to store one; a script gets nothing."""
    assert llm("keys", "list").out == ""
    screen = terminal()
    assert llm("keys", "list", out=screen.slave).code == 0
    assert "llm keys set NAME" in screen.close()


def test_rm_asks(llm, stored):
    """2 without a terminal; --yes does it; what is not there is 66."""
    assert llm("keys", "set", "openai", stdin=CANARY.encode()).code == 0
    run = llm("keys", "rm", "openai")
    assert run.code == 2 and "llm keys rm --yes openai" in run.err and (stored / "openai").exists()
    assert json.loads(llm("keys", "rm", "--yes", "--json", "openai").out) == {"removed": "openai"}
    assert list(stored.iterdir()) == []
    run = llm("keys", "rm", "--yes", "openai")
    assert run.code == 66 and "no key is stored for openai" in run.err
    assert llm("keys", "rm", "--yes", "../openai").code == 2


def test_completion_offers_backends(llm, monkeypatch):
    """Configured ones before the others."""
    configure(work={"base_url": "https://work/v1"})
    monkeypatch.setenv("_LLM_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "llm keys set ")
    offered = [line.partition("\t")[0] for line in llm().out.splitlines()]
    assert offered[0] == "work" and "anthropic" in offered and "local" not in offered
