"""Where workers are found, and by what they are told apart."""

from __future__ import annotations

import os
import stat

import pytest

from llmcli.errors import AccessDenied, OutputError
from llmcli.worker import place
from llmcli.worker.place import Place


def test_the_directory_is_made_for_this_user_alone(runtime):
    """Whatever the umask, nobody else may enter."""
    old = os.umask(0)
    try:
        made = place.directory({"LLMCLI_RUNTIME_DIR": str(runtime / "own")})
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_the_session_directory_is_preferred(runtime):
    """XDG_RUNTIME_DIR where it is this user's alone, else the directory for temporary files."""
    (runtime / "run").mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime / "run"), "TMPDIR": str(runtime)}
    assert place.directory(environ) == runtime / "run" / "llmcli"
    (runtime / "run").chmod(0o755)
    fallback = runtime / f"llmcli-{os.getuid()}"
    assert place.directory(environ) == fallback
    assert place.directory({"XDG_RUNTIME_DIR": str(runtime / "none"), "TMPDIR": str(runtime)}) == fallback


def test_a_session_directory_with_a_long_path_is_not_used(runtime):
    """Sockets would not fit; the other directory does."""
    long = runtime / ("x" * 80)
    long.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(long), "TMPDIR": str(runtime)}
    assert place.directory(environ) == runtime / f"llmcli-{os.getuid()}"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_enter_is_refused(runtime, mode):
    """Somebody else could have put a socket there."""
    own = runtime / "own"
    own.mkdir()
    own.chmod(mode)
    with pytest.raises(AccessDenied):
        place.directory({"LLMCLI_RUNTIME_DIR": str(own)})


def test_a_link_is_refused(runtime):
    """A link may lead anywhere by tomorrow."""
    (runtime / "real").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "real")
    with pytest.raises(AccessDenied):
        place.directory({"LLMCLI_RUNTIME_DIR": str(runtime / "link")})


def test_a_file_in_the_way_is_told(runtime):
    """A file is no directory."""
    (runtime / "file").touch()
    with pytest.raises(OutputError):
        place.directory({"LLMCLI_RUNTIME_DIR": str(runtime / "file")})


def test_a_machine_without_room_for_temporary_files_is_told(monkeypatch):
    """Commands do without a worker then."""

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("llmcli.worker.place.tempfile.gettempdir", none)
    with pytest.raises(OutputError):
        place.directory({})


def test_a_path_that_is_too_long_is_told(runtime):
    """Before the system cuts it."""
    with pytest.raises(OutputError, match="longer than"):
        place.directory({"LLMCLI_RUNTIME_DIR": str(runtime / ("x" * 90))})


def test_a_socket_fits_in_the_longest_directory():
    """The bound leaves room for the name of a socket."""
    room = place.LONGEST - 1 - 16 - len(".sock")
    assert len(str(Place(place.Path("/" + "x" * (room - 1)), "0" * 16).socket)) <= 100


def test_the_key_stands_for_all_that_a_worker_cannot_change(tmp_path, monkeypatch):
    """Another file, a replaced file, other layers on the GPU, another version, other steering: another worker."""
    path, other = tmp_path / "a.gguf", tmp_path / "b.gguf"
    path.write_bytes(b"x")
    other.write_bytes(b"x")
    first = place.key(path, None, {})
    assert place.key(path, None, {"PATH": "/bin", "HF_TOKEN": "secret"}) == first
    keys = [first, place.key(other, None, {}), place.key(path, 0, {}), place.key(path, None, {"GGML_X": "1"})]
    (tmp_path / "new").write_bytes(b"y")
    (tmp_path / "new").replace(path)
    keys.append(place.key(path, None, {}))
    monkeypatch.setattr("llmcli.__version__", "0")
    keys.append(place.key(path, None, {}))
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 for key in keys)


def test_a_lock_is_one_process_s_at_a_time(runtime):
    """The second is told so, at once or after its patience."""
    first, second = Place(runtime, "k"), Place(runtime, "k")
    with first.lock() as ours:
        assert ours
        with second.lock() as theirs:
            assert not theirs
        with second.lock(0.03) as theirs:
            assert not theirs
    with second.lock() as theirs:
        assert theirs
    assert stat.S_IMODE((runtime / "k.lock").stat().st_mode) == 0o600


def test_a_lock_that_is_a_link_is_refused(runtime):
    """Else whoever made it could have us create files."""
    (runtime / "k.lock").symlink_to(runtime / "elsewhere")
    with pytest.raises(OutputError), Place(runtime, "k").lock():
        pass
    assert not (runtime / "elsewhere").exists()


def test_places_are_those_with_a_socket(runtime):
    """Locks alone are left behind by workers that are gone."""
    (runtime / "a.sock").touch()
    (runtime / "b.lock").touch()
    assert [found.key for found in place.places(runtime)] == ["a"]
