"""``llm doctor``: what it checks, and that it always ends."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from terminal import ROOT

from llmcli import __version__
from llmcli.cli.commands.doctor import doctor_checks
from llmcli.engine.llama import bindings, hardware, threads
from llmcli.errors import Unsupported

CHECKS = [
    "versions", "llama.cpp", "cores", "memory", "gpu", "worker", "configuration", "directories", "provenance", "prompts", "models",
    "default model", "path", "backends", "network", "terminal",
]  # fmt: skip


LOOK = threads.LOAD_INTERVAL_S, threads.SystemLoad.busy_cores


@pytest.fixture(autouse=True)
def _idle(monkeypatch):
    """Skip the time that sampling the load takes."""
    monkeypatch.setattr(threads, "LOAD_INTERVAL_S", 0.0)
    monkeypatch.setattr(threads.SystemLoad, "busy_cores", lambda _: 0.0)


@pytest.fixture
def doctor(llm):
    """Run ``llm doctor --json``; return the exit code and the findings by the name of their check."""

    def run(**env):
        ran = llm("doctor", "--json", env=env)
        return ran.code, {row["check"]: row for row in map(json.loads, ran.out.splitlines())}

    return run


def program(directory: Path, text: str) -> Path:
    """Write an executable called llm."""
    directory.mkdir(exist_ok=True)
    file = directory / "llm"
    file.write_text(text)
    file.chmod(0o755)
    return file


def ours(python: str = sys.executable) -> str:
    """Return the script that an installer writes for our entry point."""
    return f"#!{python}\nimport sys\nfrom llmcli.cli.main import run\nsys.exit(run())\n"


def test_every_check_reports_once_and_in_order(doctor):
    """A healthy machine ends with 0; each finding has a state, a text, a next step and data."""
    code, found = doctor()
    assert code == 0 and list(found) == CHECKS
    assert all(set(row) == {"check", "state", "text", "next", "data"} for row in found.values())


def test_people_read_a_state_and_a_name_in_front_of_each_line(llm):
    """The same without --json, in columns."""
    lines = llm("doctor").out.splitlines()
    assert lines[0].startswith("ok       versions       llmcli " + __version__)
    assert {line[:9].strip() for line in lines} <= {"ok", "untested", "warning", "problem", ""}


def test_a_terminal_of_80_columns_is_enough(llm, terminal):
    """Long lines are wrapped beside their name."""
    screen = terminal()
    assert llm("doctor", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert all(line[:24].strip() == "" or line[:9].strip() in {"ok", "untested", "warning"} for line in lines)
    assert all(not line or line[23] == " " for line in lines)


def test_a_narrow_terminal_has_the_text_below_the_name(llm, terminal):
    """Beside it, 16 columns would be left, and words would be broken."""
    screen = terminal(columns=40)
    assert llm("doctor", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert lines[0] == "ok       versions" and lines[1].startswith("  llmcli ")
    (index,) = (number for number, line in enumerate(lines) if line == "ok       memory")
    assert lines[index + 1].endswith(" can be allocated")


def test_a_broken_configuration_is_a_problem_that_hides_no_other_finding(doctor):
    """Everything else is still reported; the exit code is 1 and the next step is named."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("thread: 3\n")
    code, found = doctor()
    assert code == 1 and list(found) == CHECKS
    assert found["configuration"]["state"] == "problem" and "thread" in found["configuration"]["text"]
    assert "llm config edit" in found["configuration"]["next"]


def test_the_configuration_says_where_each_value_comes_from(doctor):
    """Values other than the default have their origin."""
    _, found = doctor(LLMCLI_CTX="512")
    assert found["configuration"]["data"]["settings"]["ctx"] == {"value": 512, "origin": "LLMCLI_CTX"}


def test_a_missing_binding_is_a_problem(doctor, monkeypatch):
    """If llama.cpp cannot be loaded, its own message and the command to type are shown."""

    def missing():
        raise Unsupported("llama.cpp", detail="the package llama-cpp-python is not installed")

    monkeypatch.setattr(bindings, "lib", missing)
    code, found = doctor()
    assert code == 1 and list(found) == CHECKS
    assert found["llama.cpp"]["state"] == "problem" and "not installed" in found["llama.cpp"]["text"]
    assert "pip install" in found["llama.cpp"]["next"]


def test_the_cores_are_those_of_this_process(doctor, monkeypatch):
    """Affinity, physical cores, quota, the load of others, and the number of threads."""
    monkeypatch.setattr(threads, "LOAD_INTERVAL_S", LOOK[0])
    monkeypatch.setattr(threads.SystemLoad, "busy_cores", LOOK[1])
    _, found = doctor()
    data = found["cores"]["data"]
    assert data["affinity"] == len(os.sched_getaffinity(0)) and 1 <= data["threads"] <= data["affinity"]
    assert data["others"] >= 0 and data["origin"] == "default"


@pytest.mark.parametrize(
    ("measured", "number", "said"),
    [
        ((None, 0.0), 4, "no CPU quota, other programs keep 0.0 cores busy"),
        ((None, 1.04), 3, "other programs keep 1.0 cores busy"),
        ((None, 9.0), 1, "other programs keep 9.0 cores busy"),
        ((2.0, 0.0), 2, "a quota of 2 CPUs"),
        ((None, None), 4, "the load of other programs is unknown"),
    ],
)
def test_the_number_of_threads_comes_with_its_reasons(doctor, monkeypatch, measured, number, said):
    """As many as can compute at once: cores by affinity, physical ones, the quota, less the load of others."""
    quota, others = measured
    monkeypatch.setattr(hardware, "detect_cores", lambda: hardware.CpuCores(affinity=8, physical=4, quota=quota))
    monkeypatch.setattr(threads.SystemLoad, "busy_cores", lambda _: others)
    _, found = doctor()
    cores = found["cores"]
    assert cores["state"] == "ok" and cores["data"]["threads"] == number and cores["data"]["others"] == others
    assert cores["text"].startswith(f"threads: {number}, ") and said in cores["text"]
    assert "8 logical cores by affinity, 4 physical" in cores["text"]


def test_more_threads_than_cores_are_worth_a_warning(doctor):
    """llama.cpp becomes very slow then."""
    code, found = doctor(LLMCLI_THREADS="1000")
    assert code == 0 and found["cores"]["state"] == "warning" and found["cores"]["data"]["threads"] == 1000
    assert found["cores"]["text"].startswith("threads: 1000, set by LLMCLI_THREADS;")


def test_gpu_layers_without_a_gpu_are_worth_a_warning(doctor, monkeypatch):
    """This build cannot offload."""
    monkeypatch.setattr("llmcli.engine.llama.hardware.list_gpus", list)
    _, found = doctor(LLMCLI_GPU_LAYERS="20")
    assert found["gpu"]["state"] == "warning" and "LLMCLI_GPU_LAYERS" in found["gpu"]["text"]


def test_a_default_model_that_is_not_here_names_the_command_to_type(doctor):
    """A fresh machine is not broken."""
    code, found = doctor(LLMCLI_MODEL=None)
    assert code == 0 and found["default model"]["state"] == "warning"
    assert found["default model"]["next"] == "Try: llm models pull smollm2-135m"


def test_a_default_model_that_does_not_exist_is_a_problem(doctor):
    """Nothing works until the name is right."""
    code, found = doctor(LLMCLI_MODEL="/no/such.gguf")
    assert code == 1 and found["default model"]["state"] == "problem"
    assert "LLMCLI_MODEL" in found["default model"]["text"]


def test_prompt_problems_are_reported(doctor):
    """The name of the broken prompt, and the command that shows more."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "prompts" / "ask.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("nonsense: 1\n")
    _, found = doctor()
    assert found["prompts"]["state"] == "warning" and "ask" in found["prompts"]["text"]


def test_a_directory_that_cannot_be_written_is_a_warning(doctor, tmp_path):
    """A file in place of the data directory."""
    (tmp_path / "file").write_text("")
    _, found = doctor(LLMCLI_DATA_DIR=str(tmp_path / "file" / "data"))
    assert found["directories"]["state"] == "warning"


def test_every_directory_that_cannot_be_written_is_named(doctor, tmp_path):
    """One correction is enough."""
    files = {variable: tmp_path / variable for variable in ("LLMCLI_CONFIG_DIR", "LLMCLI_DATA_DIR", "LLMCLI_CACHE_DIR")}
    for file in files.values():
        file.write_text("")
    _, found = doctor(**{variable: str(file / "below") for variable, file in files.items()})
    assert all(str(file) in found["directories"]["text"] for file in files.values())


def test_secrets_are_not_shown(llm):
    """Of a token, or a password in an address, only its presence is shown."""
    env = {"HF_TOKEN": "hf_0pensesame", "HF_ENDPOINT": "https://me:hunter2@example.org/hub"}
    for arguments in (["doctor"], ["doctor", "--json"]):
        shown = llm(*arguments, env=env).out
        assert "0pensesame" not in shown and "hunter2" not in shown and "example.org/hub" in shown


def test_a_broken_registry_of_models_is_a_warning(doctor):
    """All commands still work, but the user's choices are lost."""
    file = Path(os.environ["LLMCLI_DATA_DIR"]) / "models.json"
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    code, found = doctor()
    assert code == 0 and found["models"]["state"] == "warning" and str(file) in found["models"]["text"]


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://host", "https://", "http://["])
def test_an_endpoint_that_is_no_address_is_a_warning(doctor, endpoint):
    """A pull would fail with it."""
    _, found = doctor(HF_ENDPOINT=endpoint)
    assert found["network"]["state"] == "warning" and "HF_ENDPOINT" in found["network"]["text"]


def test_a_cache_that_is_a_file_is_a_warning(doctor, tmp_path):
    """Nothing could be pulled into it."""
    (tmp_path / "file").write_text("")
    _, found = doctor(HF_HUB_CACHE=str(tmp_path / "file"))
    assert found["models"]["state"] == "warning" and "cannot be written" in found["models"]["text"]


def test_a_default_model_that_is_broken_is_a_problem(doctor, tmp_path):
    """An existing file is not enough."""
    (tmp_path / "x.gguf").write_bytes(b"GGUF nonsense")
    code, found = doctor(LLMCLI_MODEL=str(tmp_path / "x.gguf"))
    assert code == 1 and found["default model"]["state"] == "problem"


def test_a_default_model_whose_bytes_changed_is_not_ok(llm, doctor, here):
    """A file that changed since its check is a warning, and a damaged one a problem."""
    path = Path(json.loads(llm("models", "show", here, "--json").out)["path"]).resolve()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, (1, 1))
    assert doctor(LLMCLI_MODEL=here)[1]["default model"]["state"] == "warning"
    assert llm("ask", "x", "-m", here).code == 76
    _, found = doctor(LLMCLI_MODEL=here)
    assert (found["default model"]["state"], found["models"]["state"]) == ("problem", "warning")
    assert found["default model"]["next"] == f"Try: llm models pull {here}"


def test_offline_is_reported(doctor):
    """The Hub's own variable counts."""
    _, found = doctor(HF_HUB_OFFLINE="1")
    assert found["network"]["data"]["offline"] is True and "offline" in found["network"]["text"]


def test_what_was_not_checked_is_not_ok(doctor, hub):
    """No connection is opened unasked, so the network is untested; unchecked models are reported."""
    _, found = doctor()
    assert found["network"]["state"] == "untested" and "no connection was tried" in found["network"]["text"]
    assert found["network"]["next"].endswith("llm doctor --network") and hub.asked == []
    assert found["default model"]["state"] == "ok" and "it was not loaded" in found["default model"]["text"]


def test_models_are_not_hashed_again(doctor, here):
    """Their state is the recorded one."""
    _, found = doctor()
    assert found["models"]["state"] == "ok" and "to check their bytes" in found["models"]["text"]


def test_unknown_memory_is_untested(doctor, monkeypatch):
    """If the system does not report free memory, the check is not ok."""
    monkeypatch.setattr(hardware, "available_memory", lambda: None)
    assert doctor()[1]["memory"]["state"] == "untested"


def test_the_network_is_checked_on_request(llm, hub):
    """The Hub is asked once; a failure is a problem."""
    run = llm("doctor", "--network", "--json")
    found = {row["check"]: row for row in map(json.loads, run.out.splitlines())}["network"]
    assert (run.code, found["state"], found["text"]) == (0, "ok", f"{hub.endpoint} answers") and len(hub.asked) == 1
    run = llm("doctor", "--network", "--json", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    found = {row["check"]: row for row in map(json.loads, run.out.splitlines())}["network"]
    assert (run.code, found["state"]) == (1, "problem") and "127.0.0.1:9" in found["text"]


def test_offline_overrides_the_network_check(llm, hub):
    """No connection is opened, and nothing is called ok."""
    run = llm("doctor", "--network", "--json", env={"HF_HUB_OFFLINE": "1"})
    found = {row["check"]: row for row in map(json.loads, run.out.splitlines())}["network"]
    assert found["state"] == "untested" and hub.asked == []


def test_another_program_called_llm_is_reported(doctor, tmp_path):
    """The user learns which program runs as llm, and that llmcli is the same command."""
    other = program(tmp_path / "a", "#!/bin/sh\nexit 0\n")
    program(tmp_path / "b", ours())
    _, found = doctor(PATH=f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert found["path"]["state"] == "warning" and str(other) in found["path"]["text"]
    assert "llmcli" in found["path"]["next"]


def test_our_own_llm_in_front_is_fine(doctor, tmp_path):
    """Programs behind it on PATH do no harm, and are named."""
    program(tmp_path / "a", ours())
    other = program(tmp_path / "b", "#!/bin/sh\n")
    _, found = doctor(PATH=f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert found["path"]["state"] == "ok" and f"behind it: {other}" in found["path"]["text"]


def test_no_llm_on_path_is_a_warning(doctor, tmp_path):
    """An installation outside of PATH is the most common problem."""
    _, found = doctor(PATH=str(tmp_path))
    assert found["path"]["state"] == "warning" and "PATH" in found["path"]["next"]


@pytest.mark.parametrize(
    ("text", "llmcli", "mine"),
    [
        (ours(), True, True),
        ("#!/bin/sh\n'''exec' \"" + sys.executable + "\" \"$0\" \"$@\"\n' '''\nfrom llmcli.cli.main import run\n", True, True),
        (ours("/elsewhere/bin/python"), True, False),
        ("#!/usr/bin/python3\nfrom llm.cli import cli\ncli()\n", False, False),
        ("\x7fELF\x00", False, False),
    ],
)  # fmt: skip
def test_a_script_is_ours_by_its_entry_point_and_its_python(tmp_path, text, llmcli, mine):
    """Long interpreter paths, other installations and other programs are distinguished."""
    program(tmp_path, text)
    (found,) = doctor_checks.find_executables("llm", {"PATH": f"{tmp_path}:{tmp_path}:/nowhere:"})
    assert (found.llmcli, found.same_installation) == (llmcli, mine)


@pytest.mark.parametrize(("python", "mine"), [(sys.executable, True), ("/elsewhere/bin/python", False)])
def test_the_launcher_is_ours_by_the_script_beside_it(doctor, tmp_path, python, mine):
    """Llm is a shell script, and pipx and uv put a link to it on the PATH."""
    launcher = program(tmp_path / "bin", (ROOT / "llmcli" / "cli" / "launcher.sh").read_text())
    launcher.with_name("llmcli").write_text(ours(python))
    (tmp_path / "llm").symlink_to(launcher)
    found = doctor(PATH=str(tmp_path))[1]["path"]
    assert found["data"]["llm"] == [{"path": str(tmp_path / "llm"), "llmcli": True, "ours": mine}]


def test_a_file_that_cannot_be_run_is_no_command(tmp_path):
    """The shell skips it, and so does the check."""
    program(tmp_path, ours()).chmod(0o644)
    assert doctor_checks.find_executables("llm", {"PATH": str(tmp_path)}) == []


def test_workers_are_listed(doctor):
    """Off, on with a directory, or impossible."""
    assert "off (LLMCLI_WORKER)" in doctor()[1]["worker"]["text"]
    directory = Path(tempfile.mkdtemp(prefix="llm", dir="/tmp"))
    found = doctor(LLMCLI_WORKER="on", LLMCLI_RUNTIME_DIR=str(directory))[1]["worker"]
    assert found["state"] == "ok" and "no worker is running" in found["text"] and str(directory) in found["text"]
    directory.chmod(0o755)
    found = doctor(LLMCLI_WORKER="on", LLMCLI_RUNTIME_DIR=str(directory))[1]["worker"]
    assert found["state"] == "warning" and str(directory) in found["text"]
    shutil.rmtree(directory)


@pytest.mark.parametrize("variable", ["LLMCLI_CONFIG_DIR", "LLMCLI_DATA_DIR", "LLMCLI_CACHE_DIR", "HF_HOME"])
@pytest.mark.parametrize("name", ["x" * 300, "loop", "file/below"])
def test_impossible_directories_are_reported(llm, tmp_path, variable, name):
    """The check names them; no check fails itself."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    run = llm("doctor", env={variable: str(tmp_path / name)})
    assert run.code in {0, 1} and "internal error" not in run.out + run.err
