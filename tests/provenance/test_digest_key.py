"""The key of digests: created once, private, and the same for all processes."""

from __future__ import annotations

import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmcli.cli.console.error_messages import describe
from llmcli.errors import AccessDenied, CannotCreate, ConfigError
from llmcli.interrupt import Interrupt
from llmcli.provenance.digest_key import digest_public, is_keyed, load_key, load_or_create_key


def test_a_key_is_created_once_and_is_private(tmp_path):
    """Its file, which only the owner may read, holds 32 random bytes."""
    path = tmp_path / "data" / "provenance.key"
    assert load_key(path) is None
    key = load_or_create_key(path)
    assert load_or_create_key(path) == key == load_key(path)
    assert path.stat().st_mode & 0o777 == 0o600 and len(bytes.fromhex(path.read_text())) == 32
    assert [each.name for each in path.parent.iterdir()] == ["provenance.key"]


def test_processes_that_create_it_at_once_get_the_same_key(tmp_path, monkeypatch):
    """The first one wins; the temporary names differ as those of processes do."""
    path = tmp_path / "provenance.key"
    numbers = iter(range(1000))
    monkeypatch.setattr(os, "getpid", lambda: next(numbers))
    with ThreadPoolExecutor(8) as pool:
        keys = {each.id for each in pool.map(lambda _: load_or_create_key(path), range(16))}
    assert len(keys) == 1


def test_digests_are_hmac_sha_256(tmp_path):
    """Of bytes and of files, which are read in blocks; the name of a key is no digest of it."""
    key = load_or_create_key(tmp_path / "provenance.key")
    data = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(data)
    expected = {"hmac-sha256": hmac.new(key.secret, data, hashlib.sha256).hexdigest()}
    assert key.digest(data) == key.digest_file(str(tmp_path / "file"), Interrupt()) == expected
    started = key.start()
    started.update(data[:5])
    started.update(data[5:])
    assert started.hexdigest() == expected["hmac-sha256"]
    assert is_keyed(expected) and not is_keyed(digest_public(data))
    assert key.id not in {key.secret.hex()[:16], hashlib.sha256(key.secret).hexdigest()[:16]}
    assert key.secret.hex() not in repr(key)


def test_a_key_that_cannot_be_used_is_named(tmp_path):
    """Others may read it, it is damaged, or it cannot be created."""
    path = tmp_path / "provenance.key"
    load_or_create_key(path)
    path.chmod(0o644)
    with pytest.raises(AccessDenied) as refused:
        load_key(path)
    assert describe(refused.value)[0] == f"other users can read {path}, which contains a key"
    path.chmod(0o600)
    path.write_text("not hexadecimal")
    with pytest.raises(ConfigError, match=r"provenance\.key"):
        load_or_create_key(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate):
        load_or_create_key(tmp_path / "file" / "provenance.key")
