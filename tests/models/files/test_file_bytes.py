import hashlib
import os

import pytest

from llmcli.errors import BadModelFile, Interrupted, OutputError
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import check_disk_space, file_size, hash_file, hash_steps


def test_hashing_reports_its_progress(tmp_path):
    """The number of bytes read so far is yielded, the digest is returned; ``hash_file`` returns the same."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * (1 << 20) + b"y")
    steps = hash_steps(path, Interrupt())
    assert [next(steps), next(steps)] == [1 << 20, (1 << 20) + 1]
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert ended.value.value == hash_file(path, Interrupt()) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_hashing_can_be_interrupted_and_refuses_pipes(tmp_path):
    """A signal ends it at the next block; a file that is not regular is refused without waiting."""
    path = tmp_path / "a"
    path.write_bytes(b"x")
    interrupt = Interrupt()
    interrupt.set(2)
    with pytest.raises(Interrupted):
        hash_file(path, interrupt)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadModelFile):
        hash_file(tmp_path / "pipe", Interrupt())


def test_a_full_disk_is_detected_beforehand(tmp_path):
    """The error names both numbers."""
    check_disk_space(tmp_path, 1)
    with pytest.raises(OutputError) as refused:
        check_disk_space(tmp_path, 1 << 60)
    assert f"{1 << 60:,} bytes are needed" in refused.value.detail


def test_the_size_of_a_missing_file_is_0(tmp_path):
    """Its size is 0."""
    assert file_size(tmp_path / "a") == 0
