"""The rate of downloads, measured and kept."""

from __future__ import annotations

import pytest

from llmcli.models.hub.transfer_rate import MIN_MEASURED_BYTES, TransferMeter, load_rate, save_rate


def test_pauses_between_responses_do_not_count():
    """Bytes over the seconds in which they came."""
    now = [0.0]
    meter = TransferMeter(lambda: now[0])
    for _ in range(2):
        now[0] += 100.0  # an attempt that got nothing
        meter.begin_response()
        now[0] += 2.0
        meter.add_bytes(MIN_MEASURED_BYTES)
    assert meter.bytes_per_s == MIN_MEASURED_BYTES / 2


def test_a_small_transfer_measures_nothing():
    """It would tell more about the connection's start."""
    meter = TransferMeter()
    meter.add_bytes(MIN_MEASURED_BYTES - 1)
    assert meter.bytes_per_s is None


def test_a_rate_is_kept(tmp_path):
    """For its owner only."""
    file = tmp_path / "cache" / "rate"
    save_rate(file, 1234567.8)
    assert load_rate(file) == 1234568 and file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"fast", b"0", b"-5", b"nan", b"inf", b"\xff"])
def test_what_is_no_rate_is_ignored(tmp_path, content):
    """As a missing file."""
    file = tmp_path / "rate"
    assert load_rate(file) is None
    file.write_bytes(content)
    assert load_rate(file) is None


def test_a_full_disk_is_no_error(tmp_path):
    """The next estimate assumes a rate."""
    (tmp_path / "file").touch()
    save_rate(tmp_path / "file" / "rate", 1.0)
