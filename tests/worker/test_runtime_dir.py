"""The places of workers, and what distinguishes them."""

from __future__ import annotations

import os
import stat

import pytest

from llmcli.errors import AccessDenied, OutputError
from llmcli.worker import runtime_dir
from llmcli.worker.runtime_dir import WorkerPaths


def test_the_directory_is_private(runtime):
    """Whatever the umask, other users have no access."""
    old = os.umask(0)
    try:
        made = runtime_dir.find_runtime_dir({"LLMCLI_RUNTIME_DIR": str(runtime / "own")})
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_the_session_directory_is_preferred(runtime):
    """XDG_RUNTIME_DIR if it is private, else the directory for temporary files."""
    (runtime / "run").mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime / "run"), "TMPDIR": str(runtime)}
    assert runtime_dir.find_runtime_dir(environ) == runtime / "run" / "llmcli"
    (runtime / "run").chmod(0o755)
    fallback = runtime / f"llmcli-{os.getuid()}"
    assert runtime_dir.find_runtime_dir(environ) == fallback
    assert runtime_dir.find_runtime_dir({"XDG_RUNTIME_DIR": str(runtime / "none"), "TMPDIR": str(runtime)}) == fallback


def test_a_session_directory_with_a_long_path_is_not_used(runtime):
    """Sockets would not fit; the other directory is used."""
    long = runtime / ("x" * 80)
    long.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(long), "TMPDIR": str(runtime)}
    assert runtime_dir.find_runtime_dir(environ) == runtime / f"llmcli-{os.getuid()}"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_with_access_for_others_is_refused(runtime, mode):
    """Another user could have put a socket there."""
    own = runtime / "own"
    own.mkdir()
    own.chmod(mode)
    with pytest.raises(AccessDenied):
        runtime_dir.find_runtime_dir({"LLMCLI_RUNTIME_DIR": str(own)})


def test_a_link_is_refused(runtime):
    """A link may lead elsewhere later."""
    (runtime / "real").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "real")
    with pytest.raises(AccessDenied):
        runtime_dir.find_runtime_dir({"LLMCLI_RUNTIME_DIR": str(runtime / "link")})


def test_a_file_in_the_way_is_reported(runtime):
    """A file is no directory."""
    (runtime / "file").touch()
    with pytest.raises(OutputError):
        runtime_dir.find_runtime_dir({"LLMCLI_RUNTIME_DIR": str(runtime / "file")})


def test_a_full_disk_for_temporary_files_is_reported(monkeypatch):
    """Commands work without a worker then."""

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    monkeypatch.setattr(runtime_dir, "_USUAL_TEMP_DIR", "/nowhere")
    with pytest.raises(OutputError):
        runtime_dir.find_runtime_dir({})


@pytest.mark.parametrize(
    ("variables", "expected"), [({}, "usual"), ({"TMPDIR": ""}, "usual"), ({"TEMP": "/elsewhere"}, "searched")]
)
def test_the_directory_of_earlier_commands_is_not_searched_for(runtime, monkeypatch, variables, expected):
    """Unless a variable names another place for temporary files."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    usual, searched = runtime / "usual", runtime / "searched"
    for directory in (usual / f"llmcli-{os.getuid()}", searched):
        directory.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(runtime_dir, "_USUAL_TEMP_DIR", str(usual))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(searched))
    assert runtime_dir.find_runtime_dir({}).parent.name == expected


def test_a_path_that_is_too_long_is_reported(runtime):
    """Before the system truncates it."""
    with pytest.raises(OutputError, match="longer than"):
        runtime_dir.find_runtime_dir({"LLMCLI_RUNTIME_DIR": str(runtime / ("x" * 90))})


def test_a_socket_fits_in_the_longest_directory():
    """The limit leaves room for the name of a socket."""
    room = runtime_dir.MAX_SOCKET_PATH_BYTES - 1 - 16 - len(".sock")
    assert len(str(WorkerPaths(runtime_dir.Path("/" + "x" * (room - 1)), "0" * 16).socket)) <= 100


def test_the_key_covers_all_that_a_worker_cannot_change(tmp_path, monkeypatch):
    """Another file, a replaced file, other GPU layers, another version or other environment means another worker."""
    path, other = tmp_path / "a.gguf", tmp_path / "b.gguf"
    path.write_bytes(b"x")
    other.write_bytes(b"x")
    first = runtime_dir.worker_key(path, None, {})
    assert runtime_dir.worker_key(path, None, {"PATH": "/bin", "HF_TOKEN": "secret"}) == first
    keys = [
        first,
        runtime_dir.worker_key(other, None, {}),
        runtime_dir.worker_key(path, 0, {}),
        runtime_dir.worker_key(path, None, {"GGML_X": "1"}),
    ]
    (tmp_path / "new").write_bytes(b"y")
    (tmp_path / "new").replace(path)
    keys.append(runtime_dir.worker_key(path, None, {}))
    monkeypatch.setattr("llmcli.__version__", "0")
    keys.append(runtime_dir.worker_key(path, None, {}))
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 for key in keys)


def test_a_lock_is_one_process_s_at_a_time(runtime):
    """The second process learns that, at once or after its time-out."""
    first, second = WorkerPaths(runtime, "k"), WorkerPaths(runtime, "k")
    with first.hold_lock() as ours:
        assert ours
        with second.hold_lock() as theirs:
            assert not theirs
        with second.hold_lock(0.03) as theirs:
            assert not theirs
    with second.hold_lock() as theirs:
        assert theirs
    assert stat.S_IMODE((runtime / "k.lock").stat().st_mode) == 0o600


def test_a_lock_file_that_is_a_link_is_refused(runtime):
    """Otherwise its owner could make us create files."""
    (runtime / "k.lock").symlink_to(runtime / "elsewhere")
    with pytest.raises(OutputError), WorkerPaths(runtime, "k").hold_lock():
        pass
    assert not (runtime / "elsewhere").exists()


def test_workers_are_found_by_their_sockets(runtime):
    """Ended workers leave only their locks behind."""
    (runtime / "a.sock").touch()
    (runtime / "b.lock").touch()
    assert [found.key for found in runtime_dir.list_worker_paths(runtime)] == ["a"]
