"""Suggested commands do what was meant, nothing worse, and a shell reads them correctly."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from llmcli.cli.console import suggestion
from llmcli.cli.console.error_messages import describe
from llmcli.errors import AccessDenied, DamagedModel, ModelNotDownloaded, ModelTooLarge
from llmcli.files.private_files import read_secret
from llmcli.worker.runtime_dir import _check_private_dir

TMX = (
    '<tmx version="1.4"><header srclang="en"/><body><tu><tuv xml:lang="en"><seg>one</seg></tuv>'
    '<tuv xml:lang="fr"><seg>un</seg></tuv></tu></body></tmx>'
)


def suggested(run):
    """Return the variables and words of the command that the last line suggests, as a shell reads them."""
    line = shlex.split(run.err.splitlines()[-1].removeprefix("Try: "))
    start = line.index("llm")
    return dict(word.split("=", 1) for word in line[:start]), line[start + 1 :]


@pytest.fixture
def remembered(llm, tmp_path, monkeypatch):
    """Store a translation in the user's own memory and in another, and return a function that counts them."""
    monkeypatch.chdir(tmp_path)
    Path("m.tmx").write_text(TMX)
    other = ("--tm", "the other's.sqlite")
    for more in ((), other):
        assert llm("tm", "import", "m.tmx", *more).code == 0
    return lambda: [len(llm("tm", "list", *more).out.splitlines()) for more in ((), other)]


@pytest.mark.parametrize(("more", "left"), [((), [0, 1]), (("--tm", "the other's.sqlite"), [1, 0])])
def test_tm_rm_suggests_to_clear_the_same_memory(llm, remembered, more, left):
    """The suggested command clears the named memory, and nothing of the user's own."""
    run = llm("tm", "rm", "--all", *more)
    assert run.code == 2 and remembered() == [1, 1]
    variables, argv = suggested(run)
    assert llm(*argv, env=variables).code == 0
    assert remembered() == left


def test_a_variable_that_decides_is_repeated(llm, remembered, tmp_path):
    """A variable set for one command is not set for the next, which would clear the usual memory."""
    elsewhere = {"LLMCLI_DATA_DIR": str(tmp_path / "data elsewhere")}
    assert llm("tm", "import", "m.tmx", env=elsewhere).code == 0
    variables, argv = suggested(llm("tm", "rm", "--all", env=elsewhere))
    assert variables == elsewhere
    assert llm(*argv, env=variables).code == 0
    assert (llm("tm", "list", env=elsewhere).out, remembered()) == ("", [1, 1])


@pytest.mark.parametrize("argv", [("models", "prune"), ("sessions", "rm", "--all"), ("models", "rm", "mine one.gguf")])
def test_commands_that_remove_name_their_directory(llm, tmp_path, monkeypatch, tiny, argv):
    """The Hub's cache and the data directory come from variables."""
    monkeypatch.chdir(tmp_path)
    Path("mine one.gguf").write_bytes(tiny("llama").read_bytes())
    assert llm("models", "pull", "./mine one.gguf").code == 0
    assert llm("chat", "--session", "work", stdin=b"hello\n").code == 0
    blobs = Path(os.environ["HF_HOME"]) / "hub" / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'0' * 64}.host.1.incomplete").touch()
    os.utime(blobs / f"{'0' * 64}.host.1.incomplete", (0, 0))
    run = llm(*argv)
    variables, words_of_it = suggested(run)
    assert run.code == 2 and sorted(words_of_it) == sorted([*argv, "--yes"])
    assert variables["LLMCLI_DATA_DIR"] == os.environ["LLMCLI_DATA_DIR"]
    assert (variables.get("HF_HOME") == os.environ["HF_HOME"]) == (argv[0] == "models")


def test_the_requested_context_is_repeated_for_pull(llm):
    """Another quantization fits a longer one."""
    run = llm("ask", "hi", "-m", "smollm2-135m", "--ctx", "2000")
    assert suggested(run) == ({}, ["models", "pull", "smollm2-135m", "--ctx", "2000"])


def test_a_smaller_model_is_suggested_for_the_same_context():
    """It fits with that context."""
    error = ModelTooLarge("big", needed=9, available=1, weights=9, per_token=1, context=4096, smaller_variant="small")
    assert describe(error)[1].startswith("Try: llm models pull small --ctx 4096 ")


def test_recommend_suggests_to_fetch_for_the_same_context(llm, terminal, monkeypatch):
    """The recommended model fits with that context."""
    monkeypatch.setattr("llmcli.engine.llama.hardware.measure_bandwidth", lambda _threads: 1e10)
    screen = terminal(columns=200)
    assert llm("models", "recommend", "--ctx", "1024", out=screen.slave, env={"LLMCLI_MODEL": None}).code == 0
    shown = " ".join(screen.close().split())
    assert "Download it with: llm models pull " in shown and " --ctx 1024" in shown


@pytest.mark.parametrize("error", [ModelNotDownloaded, DamagedModel], ids=lambda e: e.__name__)
def test_names_are_quoted_for_the_shell(error):
    """A name is one word whatever it contains."""
    advice = describe(error("a name; rm -rf ~"))[1]
    assert "'a name; rm -rf ~'" in advice


@pytest.mark.parametrize("check", [lambda path: read_secret(path, kind="key file", max_bytes=9), _check_private_dir])
def test_paths_are_quoted_for_the_shell(tmp_path, monkeypatch, check):
    """Also those of keys and directories that other users can read."""
    monkeypatch.chdir(tmp_path)
    path = Path("a name; rm -rf ~")
    path.touch(0o644)
    with pytest.raises(AccessDenied) as refused:
        check(path)
    assert "'a name; rm -rf ~'" in describe(refused.value)[1]


def test_a_command_has_the_options_that_were_given():
    """A switch is a word, an option two, and one that was not given none."""
    given = [
        *suggestion.format_option("--all", True),
        *suggestion.format_option("--tm", "a b"),
        *suggestion.format_option("--ctx", None),
    ]
    assert suggestion.format_command("x", *given) == "llm x --all --tm 'a b'"
