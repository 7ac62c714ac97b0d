"""The check of a library before its first use: once for each library, binding and processor, in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import pytest

from llmcli import engine_library
from llmcli.engine.llama import library_check
from llmcli.engine_library import CUSTOM, EngineLibrary, find_library
from llmcli.errors.model_errors import EngineRefused

FOUND = {"variant": "zen4", "backends": ["libggml-cpu-zen4.so"], "devices": []}


@pytest.fixture
def library(tmp_path):
    """Return a library of files that are no libraries."""
    directory = tmp_path / "engine"
    directory.mkdir()
    for name in ("libllama.so", "libggml-cpu-zen4.so"):
        (directory / name).write_bytes(name.encode())
    return EngineLibrary(CUSTOM, directory)


@pytest.fixture
def child(monkeypatch):
    """Let the child report what the test says; return the list of the libraries that it checked."""
    checked = []
    answers = {"next": FOUND}

    def run(library):
        checked.append(library)
        return answers["next"]

    monkeypatch.setattr(library_check, "_run_child", run)
    return types.SimpleNamespace(checked=checked, answers=answers)


def test_later_starts_do_not_check_again(library, child):
    """What the check found is kept."""
    first = library_check.require_check(library)
    assert library_check.require_check(library) == first
    assert first.variant == "zen4" and len(child.checked) == 1


def test_a_refused_library_is_never_accepted(library, child):
    """A refusal is an error each time: nothing says that the library was checked."""
    child.answers["next"] = {"reason": "its logits are off by 3"}
    for _ in range(2):
        with pytest.raises(EngineRefused) as caught:
            library_check.require_check(library)
        assert caught.value.detail == "its logits are off by 3"
    assert len(child.checked) == 2


def test_another_content_is_checked_again(library, child):
    """A file that was replaced makes another library; a copy with other times is the same."""
    first = library_check.require_check(library)
    os.utime(library.main_file, ns=(1, 1))
    assert library_check.require_check(library) == first and len(child.checked) == 1
    library.main_file.write_bytes(b"replaced")
    assert library_check.require_check(library).digest != first.digest
    assert len(child.checked) == 2


def damage(file):
    """Change a byte of a file, which keeps its size and time."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_that_keeps_size_and_time_is_found_before_a_library_is_loaded(library, child):
    """An installed one is refused; one of the user's is checked again."""
    library_check.require_check(library)
    assert library_check.require_intact(library) == library_check.require_check(library) and len(child.checked) == 1
    damage(library.main_file)
    library_check.require_intact(library)
    assert len(child.checked) == 2
    manifest = {"kind": "cpu", "version": "1", "package": "p", "digest": library.digest()}
    (library.directory / engine_library.MANIFEST).write_text(json.dumps(manifest))
    assert library_check.require_intact(library) == library_check.require_check(library)
    damage(library.main_file)
    with pytest.raises(EngineRefused, match="changed since it was installed"):
        library_check.require_intact(library)


def test_another_processor_or_binding_is_checked_again(library, child, monkeypatch):
    """Directories may be shared between machines; each processor has its own result, and both are kept."""
    library_check.require_check(library)
    with monkeypatch.context() as patch:
        patch.setattr(library_check, "processor_name", lambda: "another")
        library_check.require_check(library)
        assert len(child.checked) == 2
    library_check.require_check(library)
    assert len(child.checked) == 2
    with monkeypatch.context() as patch:
        patch.setattr(library_check.zlib, "crc32", lambda _declarations: 1)
        library_check.require_check(library)
        assert len(child.checked) == 3
    library_check.require_check(library)
    assert len(child.checked) == 3


def test_a_damaged_record_counts_as_none(library, child):
    """A record that cannot be read is replaced by a new check."""
    library_check.require_check(library)
    (library.directory / "llmcli-check.json").write_text("{", encoding="ascii")
    library_check.require_check(library)
    assert len(child.checked) == 2


def test_a_directory_without_a_library_is_refused(tmp_path):
    """A wrong LLAMA_CPP_LIB_PATH is an error that names the file."""
    with pytest.raises(EngineRefused) as caught:
        library_check.require_check(EngineLibrary(CUSTOM, tmp_path))
    assert "libllama" in caught.value.detail


def test_a_library_that_is_none_is_refused_in_the_child(library):
    """Bytes that are no library are refused by the loader's message."""
    with pytest.raises(EngineRefused) as caught:
        library_check.require_check(library)
    assert "Failed to load shared library" in caught.value.detail


def test_a_library_that_crashes_is_refused(library, monkeypatch):
    """A crash of the child is the reason; this process goes on."""
    crash = [sys.executable, "-c", "import os; os.write(2, b'/src/ggml.c:1: assertion failed\\n'); os.abort()"]
    monkeypatch.setattr(library_check.child_processes, "module_command", lambda *_: crash)
    with pytest.raises(EngineRefused) as caught:
        library_check.require_check(library)
    assert caught.value.detail == "its check crashed (Aborted): ggml.c:1: assertion failed"


CHILD = """
import os
from llmcli.engine.llama import bindings
print(bindings.engine_id())
print(bindings.system_info())
"""


@pytest.mark.slow
def test_a_library_elsewhere_is_checked_and_used(tmp_path):
    """A library in a directory of the user's runs after its check, and results know that it did."""
    engine = find_library(os.environ)
    directory = tmp_path / "mine"
    directory.mkdir()
    for file in engine.directory.iterdir():
        if file.suffix not in {".json", ""} or ".so." in file.name:
            (directory / file.name).symlink_to(file.resolve())
    environ = {**os.environ, engine_library.LIBRARY_VARIABLE: str(directory)}
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=environ, check=True)
    assert (directory / "llmcli-check.json").exists()
    name, info = run.stdout.splitlines()[:2]
    assert f" {CUSTOM} " in name
    assert "CPU" in info
