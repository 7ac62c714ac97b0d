"""``llm engine``: installing, choosing, checking and removing builds of llama.cpp."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import threading
from pathlib import Path

import fake_registry
import pytest
from fake_server import certificate
from fault_proxy import FaultProxy, stall_body

from llmcli import engine_library
from llmcli.cli.console import confirm
from llmcli.engine.llama import library_check
from llmcli.engine_packages import installer, package_table
from llmcli.engine_packages.package_table import MachineTraits
from llmcli.network.transfers import DownloadRetryPolicy

FOUND = {"variant": "zen4", "backends": ["libggml-cpu-zen4.so"], "devices": []}
QUICK = DownloadRetryPolicy(max_tries=3, first_pause_s=0.001, max_pause_s=1)


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine, and return a function that changes it."""
    monkeypatch.delenv(engine_library.LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(installer, "RETRY_POLICY", QUICK)
    monkeypatch.setattr(library_check, "_run_child", lambda _library: FOUND)

    def become(**facts):
        known = MachineTraits("linux", "x86_64", (2, 41))
        fields = {name: getattr(known, name) for name in ("system", "processor", "glibc", "cuda", "vulkan")}
        monkeypatch.setattr(package_table, "probe_machine", lambda: MachineTraits(**{**fields, **facts}))

    become()
    return become


@pytest.fixture
def registry(machine, monkeypatch):
    """Return a registry whose package is the one of the table."""
    server = fake_registry.FakeRegistry()
    monkeypatch.setenv("npm_config_registry", server.url + "/")

    def offer(**changes):
        kinds = [server.package(kind, **changes) for kind in ("cpu", "cuda", "vulkan")]
        monkeypatch.setattr(package_table, "_PACKAGES", {("linux", "x86_64"): tuple(kinds)})

    server.offer = offer
    offer()
    yield server
    server.close()


@pytest.fixture
def no_compiled(monkeypatch):
    """Pretend that the binding was installed without a library."""
    monkeypatch.setattr(engine_library, "compiled_library", lambda: None)


def engines():
    return Path(os.environ["LLMCLI_DATA_DIR"]) / "engines"


def installed():
    """Return the names in the directory of engines besides its lock."""
    return sorted(path.name for path in engines().glob("[!.]*")) if engines().exists() else []


def leftovers():
    return [path.name for path in engines().glob(".install-*")] if engines().exists() else []


def test_install_downloads_checks_and_uses_the_engine(llm, registry):
    """The libraries and the licence are installed privately, and run models from then on."""
    run = llm("engine", "install", "--yes", "-v")
    assert run.code == 0 and run.out == ""
    assert f"(@node-llama-cpp/linux-x64 9.9.9, 0 MB, MIT licence) from {registry.url}" in run.err
    assert "engine cpu 9.9.9, variant zen4 runs models from now on" in run.err
    assert registry.paths == ["/@node-llama-cpp/linux-x64/-/linux-x64-9.9.9.tgz"]
    directory = engines() / "cpu"
    kept = {"LICENSE", "engine.json", "libllama.so", "llmcli-check.json", *fake_registry.LIBRARIES}
    assert {path.name for path in directory.iterdir()} == kept
    assert (directory / "libllama.so").read_bytes() == b"llama"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert installed() == ["cpu", "selected"] and not leftovers()
    used = engine_library.find_library(os.environ)
    assert (used.name, used.version, used.directory) == ("cpu", "9.9.9", directory)


def test_an_installation_in_a_pipe_prints_one_line(llm, registry):
    """The log of a build shows what was installed; -q leaves it out, and --json prints an object instead."""
    run = llm("engine", "install", "--yes")
    assert (run.code, run.err) == (0, "") and run.out == "installed the engine cpu 9.9.9, variant zen4\n"
    assert llm("engine", "install", "--yes", "-q").out == ""
    assert json.loads(llm("engine", "install", "--yes", "--json").out)["name"] == "cpu"


def test_a_newer_package_is_listed(llm, registry, monkeypatch):
    """An installed engine stays in use; the list names the version that can be installed and the command."""
    assert llm("engine", "install", "--yes").code == 0
    registry.offer(version="9.10.0")
    (row,) = [json.loads(line) for line in llm("engine", "list", "--json").out.splitlines() if '"cpu"' in line]
    assert (row["version"], row["available"], row["used"]) == ("9.9.9", "9.10.0", True)
    monkeypatch.setattr("llmcli.cli.console.console.Console.writes_for_people", property(lambda _: True))
    assert "in use, 9.10.0 is newer: llm engine install cpu" in " ".join(llm("engine", "list").out.split())


def test_the_compiled_engine_may_be_missing(llm, registry, no_compiled):
    """The error says how to compile it."""
    run = llm("engine", "use", "compiled")
    assert run.code == 66 and "there is no compiled engine" in run.err and "Compile it: pip install" in run.err


def test_without_a_terminal_nothing_is_downloaded_unasked(llm, registry):
    """Without --yes there is an error that says what to type."""
    run = llm("engine", "install")
    assert run.code == 2 and "llm engine install --yes" in run.err
    assert registry.paths == [] and installed() == []


def test_offline_rules_it_out(llm, registry):
    """--yes does not mean the network where --offline forbids it."""
    for words in (["--offline"], []):
        run = llm("engine", "install", "--yes", *words, env={} if words else {"LLMCLI_OFFLINE": "on"})
        assert run.code == 69 and "offline is set" in run.err
    assert registry.paths == []


def test_a_connection_that_ends_is_continued(llm, registry):
    """The next attempt asks for the missing bytes only."""
    registry.drops = [100, 50]
    assert llm("engine", "install", "--yes").code == 0
    assert registry.ranges == ["", "bytes=100-", "bytes=150-"]


def test_a_connection_that_always_ends_is_an_error(llm, registry):
    """After some attempts without progress it is to be tried again later."""
    registry.drops = [-1] * 10
    run = llm("engine", "install", "--yes")
    assert run.code == 75 and len(run.err.splitlines()) == 2
    assert installed() == [] and not leftovers()


def test_a_registry_that_stops_sending_ends_the_tries(llm, registry, monkeypatch):
    """Each attempt brings bytes and then stalls: after some of them, the command says that it can go on later."""
    proxy = FaultProxy(registry.server.server_port)
    proxy.usual = stall_body
    policy = DownloadRetryPolicy(read_timeout_s=0.1, first_pause_s=0.001, max_read_timeouts=3)
    monkeypatch.setattr(installer, "RETRY_POLICY", policy)
    run = llm("engine", "install", "--yes", env={"npm_config_registry": proxy.url})
    proxy.close()
    assert run.code == 75 and "the server stopped sending 3 times" in run.err and proxy.num_connections == 3


def test_an_untrusted_registry_is_an_error(llm, registry, tmp_path):
    """The message has our words, and names the variable for another certificate."""
    proxy = FaultProxy(registry.server.server_port, certificate(tmp_path))
    run = llm("engine", "install", "--yes", env={"npm_config_registry": proxy.url})
    proxy.close()
    assert run.code == 76 and "certificate cannot be verified: self-signed certificate" in run.err
    assert "SSL_CERT_FILE" in run.err and "_ssl.c" not in run.err and installed() == []


@pytest.mark.parametrize(("status", "code"), [(404, 66), (403, 77), (408, 75), (500, 75), (429, 75)])
def test_a_registry_that_refuses_is_an_error(llm, registry, status, code):
    """The status of the response is named."""
    registry.status = status
    run = llm("engine", "install", "--yes")
    assert run.code == code and f"HTTP status {status}" in run.err
    assert installed() == [] and not leftovers()


def test_no_registry_is_an_error(llm, registry):
    """A registry that cannot be reached is to be tried again later; a variable that is no address is wrong."""
    run = llm("engine", "install", "--yes", env={"npm_config_registry": "http://127.0.0.1:9"})
    assert run.code == 75 and "127.0.0.1:9" in run.err
    run = llm("engine", "install", "--yes", env={"npm_config_registry": "file:///tmp"})
    assert run.code == 78 and "npm_config_registry" in run.err


@pytest.mark.parametrize("change", ["a flipped bit", "more bytes"])
def test_other_bytes_are_refused(llm, registry, change):
    """An archive with another hash is not unpacked."""
    wrong = bytearray(registry.archive)
    if change == "more bytes":
        registry.archive += b"more"
    else:
        wrong[len(wrong) // 2] ^= 1
        registry.archive = bytes(wrong)
    run = llm("engine", "install", "--yes")
    assert run.code == 76 and len(run.err.splitlines()) <= 2
    assert installed() == [] and not leftovers()


def test_only_libraries_are_unpacked(llm, registry):
    """Whatever else an archive has, links and paths outside included, is left out."""
    members = {
        **fake_registry.package_members(fake_registry.LIBRARIES),
        "package/bins/linux-x64/../../../libevil.so": b"evil",
        "/tmp/libevil.so": b"evil",
        "package/bins/x/run.sh": b"evil",
    }
    links = {"package/bins/linux-x64/liblink.so": "/etc/passwd"}
    registry.archive = fake_registry.build_archive(members, links)
    registry.offer(installed_size=1 << 20)
    assert llm("engine", "install", "--yes").code == 0
    names = {path.name for path in (engines() / "cpu").iterdir()}
    assert not names & {"liblink.so", "run.sh", "llama-addon.node"}
    assert not (engines().parent / "libevil.so").exists() and not Path("/tmp/libevil.so").exists()


@pytest.mark.parametrize("content", ["larger", "none", "garbage"])
def test_an_unexpected_archive_is_refused(llm, registry, content):
    """One that unpacks to more than the table says, or without llama.cpp, or no archive at all."""
    if content == "larger":
        registry.offer(installed_size=10)
    else:
        registry.archive = b"x" * 500 if content == "garbage" else fake_registry.build_archive({"package/LICENSE": b""})
        registry.offer()
    run = llm("engine", "install", "--yes")
    assert run.code == 76 and len(run.err.splitlines()) <= 2
    assert installed() == [] and not leftovers()


def test_a_full_disk_is_an_error_before_the_download(llm, registry):
    """The room for archive and libraries is checked first."""
    registry.offer(installed_size=1 << 60)
    run = llm("engine", "install", "--yes")
    assert run.code == 74 and "No space left on device" in run.err
    assert registry.paths == [] and installed() == [] and not leftovers()


def test_a_disk_that_fills_up_leaves_nothing(llm, registry, monkeypatch):
    """What was written until then is removed."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installer.shutil, "copyfileobj", fail)
    run = llm("engine", "install", "--yes")
    assert run.code == 74 and installed() == [] and not leftovers()


def test_a_directory_that_cannot_be_written_is_an_error(llm, registry):
    """A file in place of the directory of engines is named."""
    engines().parent.mkdir(parents=True, exist_ok=True)
    engines().write_bytes(b"")
    run = llm("engine", "install", "--yes")
    assert run.code == 74 and "engines" in run.err and registry.paths == []


@pytest.mark.parametrize(
    ("facts", "words", "reason"),
    [
        ({"system": "freebsd14"}, [], "no package is for freebsd14 on x86_64"),
        ({"processor": "riscv64"}, [], "no package is for linux on riscv64"),
        ({"glibc": (2, 31)}, [], "it needs glibc 2.34 or newer, and this system has glibc 2.31"),
        ({"glibc": None}, [], "another C library"),
        ({}, ["metal"], "for linux on x86_64 there is only cpu, cuda, vulkan"),
    ],
)
def test_a_machine_without_a_package_is_told_so(llm, registry, machine, facts, words, reason):
    """One line names the reason, and the other way: another kind of engine, or a compiler."""
    registry.offer(glibc=(2, 34))
    machine(**facts)
    run = llm("engine", "install", *words, "--yes")
    advice = "Try: llm engine install cpu" if words else "Compile it: pip install"
    assert run.code == 69 and reason in run.err and advice in run.err
    assert registry.paths == []


def test_another_version_of_the_binding_is_told_so(llm, registry, monkeypatch):
    """The packages belong to versions of the binding."""
    monkeypatch.setattr("llmcli.engine.llama.bindings.version", lambda: "0.3.99")
    run = llm("engine", "install", "--yes")
    assert run.code == 69 and "0.3.99" in run.err and "pip install llama-cpp-python==0.3.36" in run.err


@pytest.mark.parametrize(
    ("facts", "kind"),
    [({}, "cpu"), ({"vulkan": True}, "vulkan"), ({"cuda": True, "vulkan": True}, "cuda")],
)
def test_the_device_of_the_machine_is_chosen(llm, registry, machine, facts, kind):
    """CUDA before Vulkan before the processor; a kind that is named is taken whatever the machine has."""
    machine(**facts)
    assert llm("engine", "install", "--yes").code == 0
    assert installed() == sorted([kind, "selected"])
    assert llm("engine", "install", "cpu", "--yes").code == 0
    assert engine_library.find_library(os.environ).name == "cpu"


def test_macs_have_one_package_each():
    """Metal on Apple's processors, the processor on Intel's; each has a hash of 64 bytes."""
    assert package_table.choose_package(MachineTraits("darwin", "arm64")).kind == "metal"
    assert package_table.choose_package(MachineTraits("darwin", "x86_64")).kind == "cpu"
    for packages in package_table._PACKAGES.values():
        for package in packages:
            assert len(base64.b64decode(package.sha512)) == 64


def test_a_gpu_that_is_not_found_is_told(llm, registry):
    """An engine for a GPU runs on the processor too, which is said."""
    run = llm("engine", "install", "cuda", "--yes")
    assert run.code == 0 and "cuda finds no GPU" in run.err


def test_an_engine_that_fails_its_check_is_not_installed(llm, registry, monkeypatch):
    """The reason is shown, and an earlier engine stays and runs models."""
    assert llm("engine", "install", "--yes").code == 0
    before = (engines() / "cpu" / "libllama.so").stat().st_ino
    monkeypatch.setattr(library_check, "_run_child", lambda _library: {"reason": "its logits are off by 3"})
    run = llm("engine", "install", "--yes")
    assert run.code == 78 and "must not be used: its logits are off by 3" in run.err
    assert (engines() / "cpu" / "libllama.so").stat().st_ino == before and not leftovers()


def test_an_engine_is_replaced_at_once(llm, registry):
    """A second installation takes the place of the first."""
    assert llm("engine", "install", "--yes").code == 0
    registry.offer(version="9.9.10")
    assert llm("engine", "install", "--yes").code == 0
    assert engine_library.find_library(os.environ).version == "9.9.10"
    assert installed() == ["cpu", "selected"] and not leftovers()


def test_ctrl_c_ends_the_download(llm, registry):
    """Nothing of it stays."""
    registry.slow = True
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    run = llm("engine", "install", "--yes")
    assert run.code == 130 and installed() == [] and not leftovers()


def test_what_a_killed_installation_left_is_removed(llm, registry):
    """The directory of a process that was killed vanishes with the next installation."""
    (engines() / ".install-old").mkdir(parents=True)
    assert llm("engine", "install", "--yes").code == 0
    assert not leftovers()


def test_list_shows_what_is_here_and_what_can_be_installed(llm, registry):
    """One row for each engine, and which runs models."""
    names = [json.loads(line)["name"] for line in llm("engine", "list", "--json").out.splitlines()]
    assert names[-3:] == ["cpu", "cuda", "vulkan"]
    llm("engine", "install", "--yes")
    rows = {row["name"]: row for row in map(json.loads, llm("engine", "list", "--json").out.splitlines())}
    assert (rows["cpu"]["here"], rows["cpu"]["used"], rows["cpu"]["variant"]) == (True, True, "zen4")
    assert (rows["vulkan"]["here"], rows["vulkan"]["size"]) == (False, len(registry.archive))
    assert [row["name"] for row in rows.values() if row["used"]] == ["cpu"]


def test_use_chooses_an_engine(llm, registry, monkeypatch, tmp_path):
    """The one that was compiled with the binding runs models again; an unknown one is an error."""
    compiled = engine_library.EngineLibrary(engine_library.COMPILED, tmp_path / "lib")
    monkeypatch.setattr(engine_library, "compiled_library", lambda: compiled)
    llm("engine", "install", "--yes")
    run = llm("engine", "use", "compiled", "-v")
    assert run.code == 0 and "before: cpu 9.9.9" in run.err
    assert engine_library.find_library(os.environ) == compiled
    assert json.loads(llm("engine", "use", "cpu", "--json").out)["used"] is True
    assert engine_library.find_library(os.environ).name == "cpu"
    run = llm("engine", "use", "vulkan")
    assert run.code == 66 and "llm engine install vulkan" in run.err
    assert llm("engine", "use", "vulcan").code == 66
    run = llm("engine", "use", "cpu", env={"LLAMA_CPP_LIB_PATH": str(tmp_path)})
    assert run.code == 78 and "LLAMA_CPP_LIB_PATH" in run.err


def test_rm_removes_an_engine(llm, registry, no_compiled):
    """It asks first; without another one, none is left."""
    llm("engine", "install", "--yes")
    assert llm("engine", "rm", "cpu").code == 2
    assert installed() == ["cpu", "selected"]
    assert llm("engine", "rm", "cpu", "--yes").code == 0
    assert installed() == [] and engine_library.find_library(os.environ) is None
    assert llm("engine", "rm", "cpu", "--yes").code == 66
    assert llm("engine", "rm", "compiled", "--yes").code == 2


def test_check_finds_files_that_changed(llm, registry):
    """An installed file with other bytes is refused, also before its next use."""
    llm("engine", "install", "--yes")
    run = llm("engine", "check", "-v")
    assert run.code == 0 and "computes right on this machine" in run.err
    (engines() / "cpu" / "libggml.so").write_bytes(b"other")
    for words in (["check"], ["use", "cpu"]):
        run = llm("engine", *words)
        assert run.code == 78 and "its files have changed since it was installed" in run.err


def test_a_library_of_the_users_that_fails_is_not_used(llm, machine, tmp_path, monkeypatch):
    """The variable that names it is named, also where nothing but the check would find out."""
    (tmp_path / "libllama.so").write_bytes(b"another version")
    monkeypatch.setattr(library_check, "_run_child", lambda _library: {"reason": "it lacks functions: llama_decode"})
    for given, reason in ((tmp_path / "none", "there is no "), (tmp_path, "it lacks functions: llama_decode")):
        run = llm("engine", "check", env={"LLAMA_CPP_LIB_PATH": str(given)})
        assert run.code == 78 and reason in run.err and "Unset LLAMA_CPP_LIB_PATH" in run.err


# ---- no engine -------------------------------------------------------------------------------------------------------


def test_without_an_engine_a_command_names_both_ways(llm, registry, no_compiled):
    """Neither a model nor an engine is downloaded, whatever --yes and --pull mean elsewhere."""
    for words in ([], ["--pull"], ["--offline"]):
        run = llm("ask", "hello", *words)
        assert run.code == 69 and "llama.cpp is not on this machine" in run.err
        assert "llm engine install" in run.err and "pip install" in run.err
    assert registry.paths == []


@pytest.mark.parametrize(("reply", "code"), [("", 69), (None, 69), ("n", 69), ("y", 0)])
def test_on_a_terminal_llm_asks_for_an_engine(llm, registry, no_compiled, monkeypatch, reply, code):
    """No is the default; after a yes the command goes on."""
    questions = []

    def read_reply(_console, question):
        questions.append(" ".join(question.split()))
        return reply

    monkeypatch.setattr(confirm, "can_ask", lambda _console: True)
    monkeypatch.setattr(confirm, "read_reply", read_reply)
    run = llm("ask", "hello", answer=lambda _request: "Hi.")
    assert run.code == code and len(registry.paths) == (code == 0)
    assert run.out == ("Hi.\n" if code == 0 else "")
    (question,) = questions
    assert question.startswith(
        "llm: llama.cpp, which runs models, is not on this machine. Download llama.cpp v0.5.0 for cpu"
    )
    assert question.endswith("[y/N]")


@pytest.mark.parametrize("key", ["engine", "engine.json"])
def test_a_damaged_installation_counts_as_none(llm, registry, no_compiled, key):
    """An engine without its manifest is not used."""
    llm("engine", "install", "--yes")
    (engines() / "cpu" / "engine.json").write_text("{" if key == "engine" else '{"kind": 1}', encoding="ascii")
    assert llm("ask", "hello").code == 69


def test_v_names_the_engine(llm, registry):
    """The engine and its variant are among the choices that -v explains."""
    llm("engine", "install", "--yes")
    run = llm("ask", "hello", "-v")
    assert run.code == 0 and "llm: engine cpu 9.9.9, variant zen4" in run.err


def test_doctor_names_what_would_be_faster(llm, registry, machine, monkeypatch, tmp_path):
    """A GPU without an engine that uses it, and a compiled engine, whose code is for this processor; with the reason."""
    monkeypatch.setattr("llmcli.engine.llama.bindings.system_info", lambda: "CPU : AVX2 = 1 |")
    monkeypatch.setattr("llmcli.engine.llama.hardware.list_gpus", list)
    llm("engine", "install", "cpu", "--yes")

    def check():
        rows = map(json.loads, llm("doctor", "--json").out.splitlines())
        return next(row for row in rows if row["check"] == "llama.cpp")

    compiled = engine_library.EngineLibrary(engine_library.COMPILED, tmp_path / "lib")
    for found, command in ((compiled, "llm engine use compiled"), (None, "llm help engine-guide")):
        monkeypatch.setattr(engine_library, "compiled_library", lambda found=found: found)
        for flags, reason in (({"avx2"}, "for its processor alone"), ({"avx2", "avx512f"}, "from GCC 11.4")):
            monkeypatch.setattr(engine_library, "processor_flags", lambda flags=flags: flags)
            assert check()["next"].startswith(f"Probably faster here: {command} (") and reason in check()["next"]
    machine(vulkan=True)
    assert check()["next"] == (
        "Probably faster here: llm engine install vulkan (this machine has a GPU, which the engine does not use)"
    )
    assert check()["text"].startswith("engine cpu 9.9.9, variant zen4;")


@pytest.mark.parametrize(("flags", "command"), [({"avx2"}, None), ({"avx2", "avx512f"}, "llm engine install cpu")])
def test_doctor_names_a_compiled_engine_that_is_slow(llm, registry, monkeypatch, tmp_path, flags, command):
    """One that was built without the processor's wide instructions, as for another machine."""
    compiled = engine_library.EngineLibrary(engine_library.COMPILED, tmp_path / "lib")
    monkeypatch.setattr(engine_library, "compiled_library", lambda: compiled)
    monkeypatch.setattr(engine_library, "processor_flags", lambda: flags)
    monkeypatch.setattr("llmcli.engine.llama.bindings.system_info", lambda: "CPU : AVX2 = 1 |")
    rows = map(json.loads, llm("doctor", "--json").out.splitlines())
    assert next(row["data"]["faster"] for row in rows if row["check"] == "llama.cpp") == command


def test_labels_of_another_engine_say_so_once(llm, registry, monkeypatch, tmp_path):
    """The first labels after a change of the engine say that numbers may differ."""
    compiled = engine_library.EngineLibrary(engine_library.COMPILED, tmp_path / "lib")
    monkeypatch.setattr(engine_library, "compiled_library", lambda: compiled)

    def label():
        def answer(request):
            return {candidate: -1.0 - len(candidate) for candidate in request.candidates}

        return llm("classify", "--labels", "a,bc", stdin=b"good\nbad\n", answer=answer)

    assert label().code == 0
    llm("engine", "install", "--yes")
    run = label()
    assert run.code == 0 and "these labels come from the engine cpu 9.9.9, earlier ones from" in run.err
    assert label().err == ""
