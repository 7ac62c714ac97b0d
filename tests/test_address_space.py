"""Under a limit on address space (``ulimit -v``): one line and 71, never the words of a native library."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from llmcli import address_space
from llmcli.errors import OutOfMemory

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 10, int(sys.argv[1]) << 10))
from llmcli.cli.main import main
sys.exit(main(sys.argv[2:]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces the limit")


@pytest.fixture
def limit(monkeypatch):
    """Return a function that pretends a limit."""

    def pretend(size: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (size, size))

    return pretend


def test_there_is_room_without_a_limit(limit):
    """Most processes have none."""
    limit(resource.RLIM_INFINITY)
    assert address_space.limit_bytes() is None
    address_space.check_room("m", 1 << 60)


def test_what_exceeds_the_limit_is_refused(limit):
    """The error has what is needed, what is left, and a limit that would do."""
    limit(1 << 40)
    address_space.check_room("m", 1 << 30)
    with pytest.raises(OutOfMemory) as raised:
        address_space.check_room("m", 1 << 40)
    assert raised.value.available is not None and 0 < raised.value.available < raised.value.needed == 1 << 40
    assert int(raised.value.fits.rpartition(" ")[2]) > 1 << 30


def test_libraries_are_checked_before_their_import(limit, monkeypatch):
    """The import raises the error, instead of the loader ending the process; other modules are found as before."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    limit(1 << 20)
    address_space.check_before_imports()
    address_space.check_before_imports()
    added = sys.meta_path[0]
    assert type(sys.meta_path[1]) is not type(added)
    with pytest.raises(OutOfMemory):
        added.find_spec("numpy", None)
    assert added.find_spec("json", None) is None


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [100_000, 150_000, 300_000])
@pytest.mark.parametrize("verb", ["ask", "classify", "similar", "check", "extract", "translate"])
def test_a_small_limit_is_one_error(tiny, tmp_path, verb, kilobytes):
    """Every verb that needs the engine or numpy ends with 71 and a next step, or does its work."""
    source = tmp_path / "a.txt"
    source.write_text("The house stands on a hill.\n")
    words = {
        "ask": ["hello", "--max-tokens", "2"],
        "classify": ["--labels", "a,b", str(source)],
        "similar": [str(source)],
        "check": [str(source), "--against", str(source)],
        "extract": ["--schema", "name", str(source)],
        "translate": ["--to", "de", "--no-tm", str(source)],
    }[verb]
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(kilobytes), verb, "-m", str(tiny("chatml")), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    errors = [line for line in run.stderr.splitlines() if "warning:" not in line]
    assert run.returncode == 71, run.stderr
    assert len(errors) == 2 and "out of memory" in errors[0] and "ulimit -v" in errors[1]
