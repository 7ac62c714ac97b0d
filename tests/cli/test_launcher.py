"""The shell script that starts llm: what it runs, and with which signals blocked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "llmcli" / "cli" / "launcher.sh"
REPORT = """
import signal, sys
print(sys.argv[1:], signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""


@pytest.fixture
def launcher(tmp_path):
    """A directory as an installer leaves it: ``llm``, and an ``llmcli`` that prints its arguments and signals."""
    (tmp_path / "bin").mkdir()
    for name, text in (("llm", LAUNCHER.read_text()), ("llmcli", f"#!{sys.executable}\n{REPORT}")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path / "bin" / "llm"


def report(*command, **options):
    """Return what the script prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout.strip()


def test_the_script_is_an_executable_file():
    """Installers keep the mode of a script."""
    assert os.access(LAUNCHER, os.X_OK)


def test_sigint_is_blocked_until_python_runs_llmcli(launcher):
    """All arguments arrive as they are."""
    assert report(launcher, "a b", "", "*") == "['a b', '', '*'] {<Signals.SIGINT: 2>} False"


def test_an_env_without_the_option_blocks_nothing(launcher):
    """BusyBox, macOS and old coreutils."""
    launcher.write_text(launcher.read_text().replace("/usr/bin/env", "/bin/false"))
    assert report(launcher, "a") == "['a'] set() False"


def test_a_background_job_goes_on_ignoring_sigint(launcher):
    """A shell without job control ignores SIGINT for its background jobs."""
    assert report("sh", "-c", '"$0" & wait', launcher) == "[] {<Signals.SIGINT: 2>} True"


def test_links_lead_to_the_directory_of_the_script(launcher, tmp_path):
    """Relative and absolute links, one after the other, as pipx and uv leave them, and a link to the directory."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "llm").symlink_to("../bin/llm")
    (tmp_path / "link").symlink_to(tmp_path / "local" / "llm")
    (tmp_path / "directory").symlink_to("bin")
    for path in ("local/llm", "link", "directory/llm"):
        assert report(tmp_path / path, "a").startswith("['a']")


def test_a_link_is_read_with_any_path(launcher, tmp_path):
    """PATH may lack the directory of readlink."""
    (tmp_path / "link").symlink_to(launcher)
    assert report(tmp_path / "link", "a", env={"PATH": "/nowhere"}).startswith("['a']")


def test_a_shell_finds_the_script_on_the_path(launcher, tmp_path):
    """``bash -x llm`` passes on the name without a directory."""
    path = f"{launcher.parent}:{os.environ['PATH']}"
    assert report("bash", "llm", "a", cwd=tmp_path, env={"PATH": path}).startswith("['a']")


def test_a_directory_with_an_equals_sign_is_no_variable(launcher, tmp_path):
    """It would be a variable to env, which would run llm's first argument as a command."""
    directory = launcher.parent.rename(tmp_path / "a=b c")
    assert report(directory / "llm", "false") == "['false'] set() False"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_sigint_during_the_look_at_env_ends_llm(launcher, tmp_path, shell):
    """Bash forgets a SIGINT that arrives while it waits for a command, if the command ends by itself."""
    env = tmp_path / "env"
    env.write_text("#!/bin/sh\n[ $# -gt 1 ] || kill -INT $PPID\n")
    env.chmod(0o755)
    launcher.write_text(launcher.read_text().replace("/usr/bin/env", str(env)).replace("/bin/sh", shell))
    assert subprocess.run([launcher], check=False).returncode == -signal.SIGINT


@pytest.mark.parametrize("path", ["", ".", "/nowhere::"])
def test_a_script_in_the_working_directory(launcher, path):
    """An empty entry of PATH is the working directory; the script's name is then given without a directory."""
    assert report("llm", "a", cwd=launcher.parent, env={"PATH": path}).startswith("['a']")


@pytest.mark.parametrize("name", ["llmcli", ".llmcli-real"])
def test_a_sigint_that_is_pending_ends_the_process_silently(tmp_path, name):
    """What arrived while Python started ends llm before it does anything, also if a packager renamed the script."""
    (tmp_path / name).write_text("from llmcli.cli.main import run\nrun()\n")

    def send():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    command = [sys.executable, tmp_path / name, "--version"]
    done = subprocess.run(command, preexec_fn=send, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.stress
def test_sigint_in_the_first_50_ms_prints_nothing(launcher):
    """From the shell through Python's start to the imports of llmcli, it ends the process, and no traceback comes."""
    script = launcher.with_name("llmcli")
    script.write_text(f"#!{sys.executable}\nfrom llmcli.cli.main import run\nrun()\n")
    chance = random.Random(35)
    for _ in range(300):
        moment = chance.uniform(0, 0.05)
        child = subprocess.Popen([launcher, "models", "list"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(moment)
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[1] == b"", moment
        assert child.returncode in {0, -signal.SIGINT}, moment
