"""llm's own files and directories."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llmcli.errors import AccessDenied, MissingError
from llmcli.files import private_files


@pytest.fixture
def open_umask():
    """Make the umask remove nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(*paths):
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


@pytest.mark.usefixtures("open_umask")
def test_directories_are_created_with_parents(tmp_path):
    """Including parents; existing ones do not change, and a file in the way is an error."""
    tmp_path.chmod(0o755)
    private_files.make_directory(tmp_path / "a" / "b" / "c")
    private_files.make_directory(tmp_path / "a" / "b")
    assert modes(tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c") == [0o755] + 3 * [0o700]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            private_files.make_directory(path)


@pytest.mark.usefixtures("open_umask")
def test_a_file_is_replaced_atomically(tmp_path):
    """It is private although the earlier one was not, and a failure leaves nothing beside it."""
    path = tmp_path / "made" / "file"
    private_files.replace_file(path, b"one")
    path.chmod(0o666)
    private_files.replace_file(path, b"two")
    assert (path.read_bytes(), modes(path.parent, path)) == (b"two", [0o700, 0o600])
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        private_files.replace_file(path, b"three")
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.usefixtures("open_umask")
def test_the_leftover_of_a_killed_process_is_overwritten(tmp_path):
    """Another process may have its process id now, and the leftover may be open to others."""
    path = tmp_path / "file"
    path.write_bytes(b"longer than what comes")
    private_files.write_file(path, b"short")
    assert (path.read_bytes(), modes(path)) == (b"short", [0o600])
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError):
        private_files.write_file(link, b"elsewhere")


def write_in_vain(path):
    with private_files.replacing(path, "other.tmp") as temporary:
        temporary.write_bytes(b"three")
        raise ZeroDivisionError


def test_a_replacement_is_written_beside_the_path(tmp_path):
    """It replaces the path when the block ends, whatever it is; when the block raises, the path does not change."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with private_files.replacing(path) as temporary:
        temporary.symlink_to("elsewhere")
        assert path.read_bytes() == b"one"
    assert path.readlink().name == "elsewhere"
    with pytest.raises(ZeroDivisionError):
        write_in_vain(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_read_from_a_private_file(tmp_path):
    """Without surrounding white space, and no more than the limit."""
    path = tmp_path / "key"
    path.write_text(" secret \n")
    path.chmod(0o600)
    assert private_files.read_secret(path, kind="key file", max_bytes=100) == "secret"
    assert private_files.read_secret(str(path), kind="key file", max_bytes=4) == "sec"
    path.chmod(0o640)
    with pytest.raises(AccessDenied) as refused:
        private_files.read_secret(path, kind="key file", max_bytes=100)
    assert refused.value.type_name == "UnsafeKey"


def test_a_secret_that_cannot_be_read_is_missing(tmp_path):
    """A FIFO, a directory, no file, an impossible name: the error names what was expected."""
    os.mkfifo(tmp_path / "fifo")
    for name, detail in (("fifo", "regular"), (".", "regular"), ("none", "No such file"), ("a\0b", "null")):
        with pytest.raises(MissingError) as caught:
            private_files.read_secret(tmp_path / name, kind="token file", max_bytes=100)
        assert caught.value.kind == "token file" and detail in caught.value.detail


def test_a_parent_created_meanwhile_is_no_obstacle(tmp_path, monkeypatch):
    """It is missing when the directory is created first, and exists at the check."""
    real, parent = Path.mkdir, tmp_path / "parent"

    def mkdir(path, *args, **kwargs):
        if path == parent / "child" and not parent.exists():
            real(parent)
            raise FileNotFoundError(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    private_files.make_directory(parent / "child")
    assert (parent / "child").is_dir()
