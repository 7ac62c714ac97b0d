"""The time of the last use of a model."""

from __future__ import annotations

import os

import pytest

from llmcli.models.library.registry import LastUsedTimes

HASH = "a" * 64


def test_never(tmp_path):
    """Nothing is known before the first use, or without a hash."""
    used = LastUsedTimes(tmp_path / "used")
    assert used.last_used_at(HASH) is None and used.last_used_at(None) is None and used.marker_files() == {}


def test_each_use_counts(tmp_path):
    """The time is that of the last use; other models have their own."""
    used = LastUsedTimes(tmp_path / "used")
    used.record_use(HASH)
    os.utime(used.marker_files()[HASH], (1, 1))
    assert used.last_used_at(HASH) == 1
    used.record_use(HASH)
    assert used.last_used_at(HASH) > 1 and used.last_used_at("b" * 64) is None
    assert list(used.marker_files()) == [HASH]


@pytest.mark.parametrize("sha256", [None, "", "../../x", "A" * 64, "a" * 63])
def test_only_hashes_become_files(tmp_path, sha256):
    """A value that is not a hash is never used as a path."""
    LastUsedTimes(tmp_path / "used").record_use(sha256)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_directory_is_no_error(tmp_path):
    """A use that cannot be recorded is no error."""
    (tmp_path / "used").write_text("a file")
    LastUsedTimes(tmp_path / "used").record_use(HASH)
    assert LastUsedTimes(tmp_path / "used").last_used_at(HASH) is None
