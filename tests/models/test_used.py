"""When a model was used last."""

from __future__ import annotations

import os

import pytest

from llmcli.models.used import Used

HASH = "a" * 64


def test_never(tmp_path):
    """Nothing is known before the first use, nor of what has no hash."""
    used = Used(tmp_path / "used")
    assert used.last(HASH) is None and used.last(None) is None and used.files() == {}


def test_each_use_counts(tmp_path):
    """The time is that of the last use; other models have their own."""
    used = Used(tmp_path / "used")
    used.mark(HASH)
    os.utime(used.files()[HASH], (1, 1))
    assert used.last(HASH) == 1
    used.mark(HASH)
    assert used.last(HASH) > 1 and used.last("b" * 64) is None
    assert list(used.files()) == [HASH]


@pytest.mark.parametrize("sha256", [None, "", "../../x", "A" * 64, "a" * 63])
def test_only_hashes_become_files(tmp_path, sha256):
    """What is no hash touches no path."""
    Used(tmp_path / "used").mark(sha256)
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_written(tmp_path):
    """A use that cannot be remembered is no error."""
    (tmp_path / "used").write_text("a file")
    Used(tmp_path / "used").mark(HASH)
    assert Used(tmp_path / "used").last(HASH) is None
