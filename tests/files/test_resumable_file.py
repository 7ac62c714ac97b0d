"""An output that grows over several runs."""

from __future__ import annotations

import fcntl

import pytest

from llmcli.errors import CannotCreate, OutputError, TemporaryFailure
from llmcli.files.resumable_file import ResumableFile, is_resumable, lock_output, replace_durably


def test_it_appears_when_it_is_complete(tmp_path):
    """Until then, the file of that name is unchanged, also over several runs."""
    path = tmp_path / "out"
    path.write_text("old")
    first = ResumableFile(str(path))
    first.write(b"one lost")
    first.close()
    again = ResumableFile(str(path))
    assert again.initial_size == 8
    again.truncate(4)
    again.write(b"two")
    assert path.read_text() == "old" and again.size == 7
    again.commit()
    assert path.read_bytes() == b"one two" and not again.partial.exists()


def test_only_what_an_earlier_run_left_is_kept(tmp_path):
    """A file that was never written disappears."""
    path = str(tmp_path / "out")
    unused = ResumableFile(path)
    unused.close_unused()
    assert list(tmp_path.iterdir()) == []
    used = ResumableFile(path)
    used.write(b"x")
    used.close()
    ResumableFile(path).close_unused()
    assert used.partial.read_bytes() == b"x"
    ResumableFile(path).discard()
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path):
    """The second one is told to try later."""
    first = ResumableFile(str(tmp_path / "out"))
    with pytest.raises(TemporaryFailure):
        ResumableFile(str(tmp_path / "out"))
    first.discard()


@pytest.mark.parametrize("end", ["commit", "discard"])
def test_a_process_that_ends_while_another_opens_its_file(tmp_path, monkeypatch, end):
    """The other one does not get the file that has its final name now, or none, but a new one."""
    path = tmp_path / "out"
    first = ResumableFile(str(path))
    first.write(b"complete")
    lock = fcntl.flock

    def end_first(fd, operation):
        monkeypatch.setattr(fcntl, "flock", lock)
        getattr(first, end)()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", end_first)
    second = ResumableFile(str(path))
    second.truncate(0)
    second.write(b"another")
    assert path.exists() == (end == "commit") and (end == "discard" or path.read_bytes() == b"complete")
    second.commit()
    assert path.read_bytes() == b"another"


def test_an_output_is_held(tmp_path):
    """No other process writes it in the block, and what an earlier job left stays; a device needs no lock."""
    path = tmp_path / "out"
    with lock_output(str(path)), pytest.raises(TemporaryFailure):
        ResumableFile(str(path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.partial").write_text("rows")
    with lock_output(str(path)):
        pass
    assert (tmp_path / "out.partial").read_text() == "rows"
    with lock_output("/dev/null"), lock_output("/dev/null"):
        pass


def test_a_partial_output_that_is_too_short(tmp_path):
    """It is not filled with zeros."""
    file = ResumableFile(str(tmp_path / "out"))
    with pytest.raises(OutputError):
        file.truncate(5)
    file.discard()


def test_paths_that_cannot_be_written(tmp_path):
    """A missing directory, a directory, a link as partial file."""
    with pytest.raises(CannotCreate):
        ResumableFile(str(tmp_path / "missing" / "out"))
    (tmp_path / "out.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotCreate):
        ResumableFile(str(tmp_path / "out"))
    assert not (tmp_path / "elsewhere").exists()
    assert not is_resumable("/dev/stdout") and not is_resumable("/dev/fd/1") and not is_resumable("/proc/self/fd/1")
    assert not is_resumable("/dev/null") and not is_resumable(str(tmp_path)) and is_resumable(str(tmp_path / "new"))


def test_a_small_file_is_replaced_whole(tmp_path):
    """No temporary file remains."""
    path = tmp_path / "state"
    for content in (b"one", b"two"):
        replace_durably(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    with pytest.raises(CannotCreate):
        replace_durably(tmp_path / "missing" / "state", b"x")
