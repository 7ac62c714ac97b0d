"""The ``llm`` of the examples: the program itself, on a scripted model and a machine that is always the same.

``EXAMPLE_LOG`` names the file to which each run adds its arguments and exit code. ``EXAMPLE_ENGINE`` says what answers:
the "scripted" model, a "tiny" one of random weights in a real worker, or the "starter", with nothing replaced at all.
``EXAMPLE_ADDRESSES`` maps the addresses of servers that the examples name to ports on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
_START_S = 60.0


def script_model() -> None:
    """Let the worker's place be taken by the scripted model."""
    from doc_examples.model_answers import CHOICES, PARAMETERS, answer_request
    from scripted import ScriptedBackend

    from llmcli.backends import worker_backend
    from llmcli.runtime import backend_factory
    from llmcli.types import BackendStats

    class Scripted(ScriptedBackend):
        def stats(self):
            return BackendStats(decode_threads=2, prompt_threads=2, width=8, peak_memory=387_600_000, choices=CHOICES)

        def wait_for_response(self, timeout):
            return True

    def launcher(_config, _models, model, *_):
        return SimpleNamespace(spawned=False, pid=1, name=model.name)

    def connect(launcher, _options, interrupt, **_how):
        return Scripted(
            answer_request, model=launcher.name, interrupt=interrupt, parameters=PARAMETERS, token_scores=True
        )

    backend_factory.build_launcher = launcher
    worker_backend.WorkerBackend = connect
    _pretend_classifier()


def _pretend_classifier() -> None:
    """Warn of labels of sentiment no more than for the starter, whose shipped classifier gives them."""
    from llmcli.cli.labels.label_run import LabelRun

    warn = LabelRun._warn_about_low_margins
    LabelRun._warn_about_low_margins = lambda run, scorer: None if run._ctx.verb == "sentiment" else warn(run, scorer)


def fix_machine() -> None:
    """Let the machine have 8 GB for a model, and a usual bandwidth; what is measured in it is measured once."""
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning import tuning_plan
    from llmcli.models.memory_estimate import MachineResources
    from llmcli.runtime import hardware_fit

    hardware_fit.measure_machine = lambda _settings: MachineResources(8 << 30, ())
    tuning_plan._ROUNDS = 1
    hardware.load_or_measure_bandwidth = lambda _cache: 1.4e10


def pin_starter() -> None:
    """Let the catalogue pin the tiny file that takes the starter's place."""
    from llmcli.models import catalogue

    catalogue._CATALOGUE_FILE = Path(os.environ["EXAMPLE_CATALOGUE"])


def redirect_servers() -> None:
    """Let the servers that the examples name be on loopback; whatever else is not on loopback is refused."""
    import socket

    ports = json.loads(os.environ["EXAMPLE_ADDRESSES"])
    connect = socket.create_connection

    def redirected(address, *args, **how):
        host, port = address
        mapped = ports.get(f"{host}:{port}")
        assert mapped or host in {"127.0.0.1", "localhost"}, f"an example connects to {host}:{port}"
        return connect(("127.0.0.1", mapped) if mapped else address, *args, **how)

    socket.create_connection = redirected


def log_run(argv: list[str], code: int) -> None:
    """Add a run to the log; one write, so that runs side by side do not mix."""
    with Path(os.environ["EXAMPLE_LOG"]).open("ab", buffering=0) as log:
        log.write(json.dumps({"argv": argv, "code": code}).encode() + b"\n")


def serve(argv: list[str]) -> int:
    """Start ``llm serve`` as in another terminal, wait until it says that it listens, and leave it running."""
    directory = Path(os.environ["EXAMPLE_SERVERS"])
    said = directory / f"{len(list(directory.iterdir()))}.said"
    with said.open("wb") as out:
        command = [sys.executable, __file__, "--really", *argv]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    said.with_suffix(".pid").write_text(str(process.pid))
    end = time.monotonic() + _START_S
    while b"isten" not in said.read_bytes() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    sys.stderr.buffer.write(said.read_bytes())
    return 0 if process.poll() is None and b"isten" in said.read_bytes() else 1


def main(argv: list[str]) -> int:
    """Run ``llm`` and return its exit code."""
    if argv[:1] == ["serve"]:
        return serve(argv)
    if argv[:1] == ["--really"]:
        from llmcli.cli.commands.serve import serve_run

        serve_run.PORT = int(os.environ["EXAMPLE_PORT"])
        argv = argv[1:]
    engine = os.environ["EXAMPLE_ENGINE"]
    if engine != "starter":
        pin_starter()
        redirect_servers()
        if argv[:1] == ["models"]:
            fix_machine()
        elif engine == "scripted":
            script_model()
    from llmcli.cli.main import main as run_llm

    return run_llm(argv)


def run(argv: list[str]) -> int:
    """Run ``llm``, add the run to the log and return its exit code."""
    code = main(argv)
    log_run(argv, code)
    return code


if __name__ == "__main__":
    code = run(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
