"""Writing: regular files are complete or untouched, devices and pipes are written directly."""

import errno
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmcli.errors import CannotCreate, Interrupted, OutputError, OutputPipeClosed, TimedOut
from llmcli.files import atomic_file
from llmcli.files.atomic_file import atomic_write
from llmcli.interrupt import Interrupt


def write(path, data=b"new", **options):
    with atomic_write(str(path), **options) as output:
        output.write(data)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"old")
    return path


def test_a_new_file_gets_the_umasks_mode(tmp_path):
    """A new file is created as a shell would create it."""
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_an_existing_file_keeps_its_mode(file):
    """Replacing changes the content, not the permissions."""
    file.chmod(0o604)
    write(file)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_a_failure_leaves_the_old_file(file):
    """An exception in the block, also an interrupt, leaves content and directory unchanged."""

    def fail():
        with atomic_write(str(file)) as output:
            output.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_readers_never_see_a_half_written_file(file):
    """Until the block ends, readers see the old content."""
    with atomic_write(str(file)) as output:
        output.write(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"


def test_symbolic_links_are_followed(file):
    """The target of a link is replaced and the link stays; a dangling link creates its target."""
    link = file.parent / "link"
    link.symlink_to("out.txt")
    write(link)
    assert link.is_symlink() and file.read_bytes() == b"new"
    dangling = file.parent / "dangling"
    dangling.symlink_to("later.txt")
    write(dangling)
    assert dangling.is_symlink() and (file.parent / "later.txt").read_bytes() == b"new"


def test_errors_of_creation_have_a_reason(file):
    """No directory, a file in place of a directory, a directory, a loop of links, an impossible name."""
    loop = file.parent / "loop"
    loop.symlink_to("loop")
    cases = [file.parent / "none" / "x", file / "x", file.parent, loop, "a\0b", file.parent / ("x" * 300)]
    for path in cases:
        with pytest.raises(CannotCreate) as caught:
            write(path)
        assert caught.value.detail, path


@pytest.mark.parametrize("name", ["nodir/", "nodir/.", "out.txt/", ""])
def test_a_name_of_a_directory_creates_no_file(file, name):
    """As in a shell's redirection, a slash at the end asks for a directory, whether there is one or not."""
    with pytest.raises(CannotCreate):
        write(f"{file.parent}/{name}")
    assert [path.name for path in file.parent.iterdir()] == ["out.txt"] and file.read_bytes() == b"old"


def test_a_read_only_file_stays(file, monkeypatch):
    """A rename could replace a read-only file, but the user has protected it."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write whatever the mode says
    with pytest.raises(CannotCreate):
        write(file)
    assert file.read_bytes() == b"old"


def test_a_full_disk_is_an_error_of_output(file, monkeypatch):
    """ENOSPC while writing, and when the data is flushed to disk, keeps the old file."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(atomic_file.os, name, full)
            with pytest.raises(OutputError) as caught:
                write(file)
        assert (caught.value.subject, caught.value.detail) == (str(file), "No space left on device")
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_an_error_of_the_block_is_raised(file):
    """An OSError of the block itself does not count as one of the output."""

    def fail():
        with atomic_write(str(file)):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fail()


def test_without_force_nothing_is_overwritten(file):
    """A derived name that is taken is refused; a free one is written."""
    with pytest.raises(CannotCreate) as caught:
        write(file, force=False)
    assert caught.value.exists
    write(file.parent / "free", force=False)
    assert {path.name for path in file.parent.iterdir()} == {"free", "out.txt"}


def test_without_force_the_first_writer_keeps_the_file(tmp_path):
    """A file that appears during our write is not overwritten either."""
    path = tmp_path / "taken"

    def race():
        with atomic_write(str(path), force=False) as output:
            output.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(CannotCreate) as caught:
        race()
    assert caught.value.exists
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_devices_are_written_directly():
    """/dev/null accepts everything, /dev/full is full; neither is replaced by a file."""
    write("/dev/null")
    with pytest.raises(OutputError):
        write("/dev/full")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_named_pipe_is_written_directly(tmp_path):
    """The reader of a named pipe gets the bytes, and the pipe stays a pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write(path)
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_waiting_for_a_reader_can_be_interrupted(tmp_path):
    """A named pipe without a reader blocks the command only until the deadline."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(TimedOut):
        write(path, interrupt=Interrupt(timeout=0.01))


@pytest.mark.parametrize("through", ["direct", "link"])
def test_our_own_descriptor_is_not_replaced(file, tmp_path, through):
    """A name that means an open descriptor continues it, even if a regular file is behind it."""
    with file.open("ab") as target:
        name = f"/dev/fd/{target.fileno()}"
        if through == "link":
            link = tmp_path / "link"
            link.symlink_to(name)
            name = str(link)
        write(name)
    assert file.read_bytes() == b"oldnew"


def test_a_reader_that_left_is_reported():
    """A pipe whose other end is closed is neither an I/O error nor a bug."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(OutputPipeClosed):
            write(f"/dev/fd/{writer}")
    finally:
        os.close(writer)


def leave_temporary(path):
    """Kill a process while it writes ``path``; return its leftover."""
    before = set(path.parent.iterdir())
    code = "import sys; from llmcli.files.atomic_file import atomic_write\nwith atomic_write(sys.argv[1]) as out:\n"
    code += "    out.write(b'half'); print('written', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"written\n"
        child.kill()
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_the_leftover_of_a_killed_process_is_removed(file):
    """The next write to the same target removes the temporary file of a killed process."""
    left = leave_temporary(file)
    assert left.name.startswith(".llm-") and left.read_bytes() == b"half" and file.read_bytes() == b"old"
    write(file)
    assert list(file.parent.iterdir()) == [file]


def test_a_symbolic_link_has_the_temporary_files_of_its_target(file, tmp_path):
    """The leftover of a write through a link is removed by a write to the file itself."""
    (tmp_path / "link").symlink_to(file)
    leave_temporary(tmp_path / "link")
    write(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out.txt"]


def test_other_files_than_the_targets_own_stay(file, tmp_path):
    """Temporary files of other targets, and files with similar names, are left alone."""
    other = leave_temporary(tmp_path / "other.txt")
    left = leave_temporary(file)
    stem, number = left.stem.rsplit("-", 1)
    directory, link = left.with_name(f"{stem}-{int(number) + 1}.tmp"), left.with_name(f"{stem}-{int(number) + 2}.tmp")
    directory.mkdir()
    link.symlink_to(file)
    alike = [
        left.with_name(name) for name in (f"{stem}-0.tmp.bak", f"{stem}.tmp", ".llm-0123456789abcdef.tmp", "x.tmp")
    ]
    for path in alike:
        path.write_bytes(b"theirs")
    write(file)
    assert set(tmp_path.iterdir()) == {file, other, directory, link, *alike}


def test_a_living_writer_keeps_its_temporary_file(file):
    """Two writers of one target do not disturb each other: the last one to finish wins."""
    with atomic_write(str(file)) as first:
        first.write(b"first")
        write(file, b"second")
        assert file.read_bytes() == b"second"
    assert file.read_bytes() == b"first"
    assert list(file.parent.iterdir()) == [file]


def test_a_temporary_file_that_is_removed_early_is_created_again(file, monkeypatch):
    """Between creating and locking the temporary file, another writer may remove it: nothing is lost."""
    flock, removed = atomic_file.fcntl.flock, []

    def remove_first(fd, operation):
        if not removed:
            removed.append(next(path for path in file.parent.iterdir() if path != file))
            removed[0].unlink()
        flock(fd, operation)

    monkeypatch.setattr(atomic_file.fcntl, "flock", remove_first)
    write(file)
    assert removed and file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_files_are_written_without_working_locks(file, monkeypatch):
    """A file system without flock(2) gets the file, and no file there counts as abandoned."""

    def refuse(_fd, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left = leave_temporary(file)
    monkeypatch.setattr(atomic_file.fcntl, "flock", refuse)
    write(file)
    assert file.read_bytes() == b"new" and set(file.parent.iterdir()) == {file, left}


class StopsWhenFull(Interrupt):
    """Gets SIGINT once a pipe is full."""

    def __init__(self, fd):
        super().__init__()
        self._fd = fd

    def check(self):
        if not select.select([], [self._fd], [], 0)[1]:
            self.set(signal.SIGINT)
        super().check()


def test_a_stalled_reader_does_not_delay_a_signal(tmp_path):
    """Writing to a full pipe ends at a signal."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    probe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(Interrupted):
        write(path, bytes(10_000_000), interrupt=StopsWhenFull(probe))
    os.close(probe)
    os.close(reader)


def test_only_a_durable_write_waits_for_the_disk(tmp_path, monkeypatch):
    """Waiting takes 10 ms; both replace the file as a whole."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for durable in (False, True):
        with atomic_write(str(tmp_path / "file"), durable=durable) as file:
            file.write(str(durable).encode())
        assert (tmp_path / "file").read_text() == str(durable) and len(synced) == durable
