"""Files and directories of llm's own."""

from __future__ import annotations

import os
import stat

import pytest

from llmcli import private_files


@pytest.fixture
def open_umask():
    """Let the umask take nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(*paths):
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


@pytest.mark.usefixtures("open_umask")
def test_directories_are_made_down_to_the_last(tmp_path):
    """Those above it too; what is there stays as it is, and a file in the way is an error."""
    tmp_path.chmod(0o755)
    private_files.make_directory(tmp_path / "a" / "b" / "c")
    private_files.make_directory(tmp_path / "a" / "b")
    assert modes(tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c") == [0o755] + 3 * [0o700]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            private_files.make_directory(path)


@pytest.mark.usefixtures("open_umask")
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    """It is private though the one before was not, and a failure leaves nothing beside it."""
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
def test_what_a_killed_process_left_is_overwritten(tmp_path):
    """Another process may have its number now; what it left may be open to others."""
    path = tmp_path / "file"
    path.write_bytes(b"longer than what comes")
    private_files.write_file(path, b"short")
    assert (path.read_bytes(), modes(path)) == (b"short", [0o600])
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError):
        private_files.write_file(link, b"elsewhere")
