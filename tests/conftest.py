"""Shared fixtures: every test has its own directories and no network."""

from __future__ import annotations

import gc
import hashlib
import importlib
import itertools
import os
import pkgutil
import signal
import subprocess
import sys
from pathlib import Path

import forked_processes
import hypothesis
import pytest
import tiny_models
from fake_server import FakeServer
from grid import mark_rows
from threadpoolctl import threadpool_limits

import llmcli
from llmcli.engine.llama import hardware
from llmcli.engine_library import LIBRARY_VARIABLE, find_library
from llmcli.errors import LlmError

NUMBERS = itertools.count()
MEMORY_FILES = Path("/dev/shm")
"""Where Linux keeps files in memory."""
MIN_FREE_BYTES = 4 << 30
GC_THRESHOLD = 10_000
"""How many more objects there are when garbage is collected; Python's own number is 700."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config):
    """Use all cores for the whole suite, the slow tests and the examples, and one more process, since tests also wait.

    A part is done in this process by the time that workers are ready. Tests with other markers load large models, and
    one at a time is enough. ``-n`` and ``--dist`` override this, and ``-p no:xdist`` leaves it out.
    """
    is_worker = hasattr(config, "workerinput")
    if is_worker or not config.pluginmanager.hasplugin("xdist"):
        return
    if config.option.numprocesses is not None or config.option.usepdb:
        return
    kind, whole = config.option.markexpr, config.args == config.getini("testpaths") and not config.option.keyword
    if not whole or not kind.startswith(("not real", "examples", "slow")):
        return
    config.option.numprocesses = len(os.sched_getaffinity(0)) + 1 if sys.platform == "linux" else os.cpu_count()
    if config.option.dist == "no":
        config.option.dist = "loadgroup" if kind.startswith("examples") else "worksteal"


def pytest_configure():
    """Keep compiled modules, use the engine that llm uses here, and let no generated test depend on the machine's speed.

    Without compiled modules each worker and each process of a test compiles all that it imports. Generated tests have
    few examples, and more with ``--hypothesis-profile many``: always the same ones, and others each time with
    ``random``. Where memory holds files, those of the tests are there: llm often waits until a file is on the disk.
    """
    if "TMPDIR" not in os.environ and _can_hold_files(MEMORY_FILES):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FILES))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    library = find_library(os.environ)
    if library is not None and not library.is_compiled:
        os.environ[LIBRARY_VARIABLE] = str(library.directory)  # each test has directories of its own, without engines
    for name, examples in (("few", 20), ("many", 100), ("random", 300)):
        hypothesis.settings.register_profile(
            name,
            max_examples=examples,
            derandomize=name != "random",
            deadline=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
        )
    hypothesis.settings.load_profile("few")


def _can_hold_files(directory: Path) -> bool:
    """Return whether the tests may write and run files there, and there is room for those of a whole run."""
    if not os.access(directory, os.W_OK):
        return False
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize >= MIN_FREE_BYTES and not status.f_flag & os.ST_NOEXEC


@pytest.hookimpl(tryfirst=True)  # before pytest removes the items of other markers
def pytest_collection_modifyitems(items):
    """Keep samples of grids, see ``grid``."""
    mark_rows(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Exclude the collected tests, which stay to the end, from garbage collection; it would take a quarter of the time.

    Later collections are rarer than usual: generated tests make so many objects that they would take a tenth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)


@pytest.fixture(autouse=True, scope="session")
def _usual_signals():
    """Undo ignored signals of ``nohup`` or a shell's ``&``: llm inherits these, and the tests need the usual case."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread():
    """Let NumPy use one thread: there is a process for each core already, and threads that wait for others use one, too."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(autouse=True, scope="session")
def _kept_memory():
    """Let the C library keep freed blocks for the contexts of the next test: for new pages the system takes as long again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "release_free_memory", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _forked_processes():
    """Let processes of llmcli be forks; see ``real_processes``."""
    if sys.platform == "linux":
        subprocess.Popen = forked_processes.Popen
    yield
    subprocess.Popen = forked_processes.RealPopen
    forked_processes.close()


@pytest.fixture
def real_processes(monkeypatch):
    """Let processes of llmcli start as they do for a user: for tests of the start."""
    monkeypatch.setattr(subprocess, "Popen", forked_processes.RealPopen)


@pytest.fixture(autouse=True)
def _own_world(request, tmp_path_factory, monkeypatch):
    """Give the test its own configuration, data and caches, and a Hub address that refuses connections.

    They are in the test's own directory if it has one. Most tests have none, so there is nothing to create and remove.
    """
    if "tmp_path" in request.fixturenames:
        home = request.getfixturevalue("tmp_path") / "home"
    else:
        home = tmp_path_factory.getbasetemp() / "homes" / str(next(NUMBERS))
    for name in list(os.environ):
        if name.startswith(("LLMCLI_", "HF_", "HUGGING")) or name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}:
            monkeypatch.delenv(name)
    for kind in ("config", "data", "cache"):
        monkeypatch.setenv(f"LLMCLI_{kind.upper()}_DIR", str(home / kind))
    monkeypatch.setenv("LLMCLI_TUNE", "off")  # no process outlives a test
    monkeypatch.setenv("LLMCLI_WORKER", "off")
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a function from the name of a tiny random-weight model to its GGUF file."""
    directory = tmp_path_factory.mktemp("tiny")

    def path(name: str) -> Path:
        file = directory / f"{name}.gguf"
        if not file.exists():
            tiny_models.make(str(directory), [name])
        return file

    return path


@pytest.fixture
def server(monkeypatch):
    """Return a server of OpenAI's protocol on loopback; retries wait only briefly."""
    from llmcli.backends.remote import remote_backend
    from llmcli.network.retry_policy import RetryPolicy

    monkeypatch.setattr(
        remote_backend,
        "DEFAULT_RETRY_POLICY",
        RetryPolicy(max_tries=4, max_connect_tries=2, first_pause_s=0.001, max_pause_s=5),
    )
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def tried():
    """Return a function that marks a model as loaded before, since most tests are not about the load check."""

    def remember(path: Path) -> None:
        from llmcli.engine.llama import load_check

        known = load_check.marker_path(
            Path(os.environ["LLMCLI_CACHE_DIR"]), hashlib.sha256(path.read_bytes()).hexdigest()
        )
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()

    return remember


@pytest.fixture(scope="session")
def error_classes():
    """Return all error classes of the package, in whichever module."""
    for module in pkgutil.walk_packages(llmcli.__path__, "llmcli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, rest = [], [LlmError]
    while rest:
        found.append(rest.pop())
        rest += found[-1].__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("llmcli.")]
