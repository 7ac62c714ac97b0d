"""``llm serve`` through ``main``: errors are one line with a code, before anything listens."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from llmcli.runtime import backend_factory
from llmcli.serve import api_server


def test_a_port_that_is_taken(llm):
    """73, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = llm("serve", "--port", str(taken.getsockname()[1]))
    assert "attempting" not in run.err
    assert run.code == 73 and "address already in use" in run.err and "--port" in run.err and "Traceback" not in run.err


@pytest.mark.parametrize(
    "argv", [["--port", "70000"], ["--port", "-1"], ["--max-body", "0"], ["--max-concurrency", "0"]]
)
def test_numbers_out_of_range_are_usage(llm, argv):
    """2."""
    assert llm("serve", *argv).code == 2


@pytest.mark.parametrize(
    ("mode", "text", "code"), [(0o644, "abc", 77), (0o620, "abc", 77), (0o600, "", 66), (0o600, "a b", 66)]
)
def test_token_files(llm, tmp_path, mode, text, code):
    """A file that others may read is refused, and so is one without a token."""
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)
    run = llm("serve", "--port", "0", "--token-file", str(file))
    assert run.code == code and str(file) in run.err and "HF_TOKEN" not in run.err
    assert ("chmod 600" if code == 77 else "/dev/urandom") in run.err
    for other in (tmp_path / "none", tmp_path, Path("/dev/null")):
        run = llm("serve", "--token-file", str(other))
        assert run.code == 66 and "/dev/urandom" in run.err


def test_an_invalid_token_in_the_environment(llm):
    """78."""
    run = llm("serve", "--port", "0", env={"LLMCLI_SERVE_TOKEN": "a b"})
    assert run.code == 78 and "LLMCLI_SERVE_TOKEN" in run.err and "a b" not in run.err


@pytest.fixture
def announced(llm, monkeypatch):
    """Run ``llm serve`` that ends as soon as it listens; return the run and the rules."""
    seen = []

    def at_once(self, listening, _stop):
        seen.append((self.middleware._policy, listening.family, listening.getsockname()))
        if listening.family == socket.AF_UNIX:
            seen.append(stat.S_IMODE(Path(listening.getsockname()).stat().st_mode))

    monkeypatch.setattr(api_server.ApiServer, "run_until", at_once)
    return lambda *argv, **how: (llm("serve", *argv, **how), seen)


def test_a_machine_without_an_engine_serves_nothing(announced, monkeypatch):
    """69 and the command that installs one, instead of a server that answers 501."""
    monkeypatch.setattr(backend_factory, "find_library", lambda _environ: None)
    run, seen = announced("--port", "0")
    assert run.code == 69 and not seen and "listening" not in run.err
    assert run.err.startswith("llm: ") and "llm engine install" in run.err


def test_the_announcement(announced):
    """The address, and the token only if it was generated; nothing on stdout."""
    run, seen = announced("--port", "0")
    assert (run.code, run.out) == (0, "")
    assert run.err.splitlines() == [f"listening on http://127.0.0.1:{seen[0][2][1]}", f"token {seen[0][0].token}"]
    run, _ = announced("--port", "0", env={"LLMCLI_SERVE_TOKEN": "mine-is-this-and-long"})
    assert "mine-is-this-and-long" not in run.err and run.err.startswith("listening")


@pytest.mark.parametrize(
    "argv",
    [
        ["--socket", "s", "--port", "8134"], ["--socket", "s", "--host", "::1"], ["--socket", ""], ["--host", ""],
        ["--token-file", ""], ["--allow-origin", ""], ["-m", ""], ["--allow-origin", "*"], ["--allow-origin", "foo/bar"],
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(announced, argv):
    """2, before anything listens."""
    run, seen = announced(*argv)
    assert run.code == 2 and not seen


def test_a_short_token_is_warned_about(announced):
    """It is still accepted."""
    run, seen = announced("--port", "0", env={"LLMCLI_SERVE_TOKEN": "abc"})
    assert run.code == 0 and "16 characters" in run.err and seen


def test_an_origin_is_normalized_as_in_browsers(announced):
    """In lower case, without the default port."""
    _, seen = announced("--port", "0", "--allow-origin", "http://OK2.example:80/")
    assert seen[0][0].origins == {"http://ok2.example"}


def test_another_address_is_warned_about(announced):
    """Then any address is accepted, and the host's name."""
    run, seen = announced("--port", "0", "--host", "0.0.0.0")
    assert "others can reach" in run.err and seen[0][0].allow_ip_hosts


def test_a_socket_path_is_private(announced, tmp_path):
    """Whatever the umask; a stale socket is replaced, another file is not; it is removed afterwards."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    run, seen = announced("--socket", str(path))
    assert run.code == 0 and seen[1] == 0o600 and not path.exists()
    path.write_text("mine")
    run, _ = announced("--socket", str(path))
    assert run.code == 73 and path.read_text() == "mine"


def test_help_has_examples(llm):
    """Like that of all commands."""
    run = llm("serve", "--help")
    assert run.code == 0 and "Examples:" in run.out and "--token-file" in run.out


def test_two_files_of_one_name_have_longer_names(tmp_path):
    """As many directories as set them apart from each other and from the names of models."""
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.served_names import _file_names

    paths = [tmp_path / name / "m.gguf" for name in "ab"]
    models = [ModelFile(str(path), path, 1) for path in paths]
    assert _file_names(models, set()) == {"m.gguf": str(paths[0]), "b/m.gguf": str(paths[1])}
    assert [*_file_names(models, {"m.gguf"})] == ["a/m.gguf", "b/m.gguf"]
