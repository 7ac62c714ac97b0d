"""The batches of ``llm serve --batches``: a process of ``llm run-batch`` for each, on the server's models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import child_processes
from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.signals import let_children_be_interrupted
from llmcli.cli.flags import flag_settings
from llmcli.documents.records.job_state import load_job
from llmcli.errors import OutputError, TemporaryFailure
from llmcli.files import private_files
from llmcli.files.file_lock import acquire_lock

if TYPE_CHECKING:
    from llmcli.cli.commands.serve.served_models import ServedModels
    from llmcli.serve.batch_queue import BatchQueue

_OF_THE_BATCH = frozenset({"model", "lora", "weights", "backend", "offline"})
"""Settings that each batch has for itself. The others on the command line of the server are those of its batches too."""
_TOKEN_VARIABLE = "LLMCLI_SERVE_TOKEN"  # noqa: S105 (the name of a variable)
_STOP_S = 10.0
"""Seconds for a process to save its progress."""
_PRIVATE_UMASK = 0o077


@contextmanager
def open_queue(ctx: CommandContext, models: ServedModels) -> Iterator[BatchQueue]:
    """Yield the queue of the user's batches, which no other server uses meanwhile.

    Raises ``TemporaryFailure`` if one does, and ``OutputError``.
    """
    from llmcli.serve.batch_queue import BatchQueue
    from llmcli.serve.batch_store import BatchStore

    directory = ctx.runtime.paths.batches
    try:
        private_files.make_directory(directory)
        lock = acquire_lock(directory / "lock")
        if lock is None:
            raise TemporaryFailure(str(directory), detail="another llm serve --batches uses it")
        store = BatchStore(directory)  # it removes what a killed server has left
    except OSError as error:
        raise OutputError(str(directory), detail=error.strerror or "") from error
    try:
        with let_children_be_interrupted():  # how a batch is cancelled
            yield BatchQueue(store, BatchCommand(ctx, models), ctx.console.write_notice)
    finally:
        os.close(lock)


class BatchCommand:
    """Starts ``llm run-batch`` (a ``BatchRunner``), with the server's own options."""

    def __init__(self, ctx: CommandContext, models: ServedModels) -> None:
        self._models = models
        self._options = [
            word
            for name, (_, value) in flag_settings(ctx.flags).items()
            if value is not None and name not in _OF_THE_BATCH
            for word in ("--set", f"{name}={value}")
        ]
        environ = ctx.runtime.environ
        self._environ = {**environ, **child_processes.child_env(environ)}
        self._environ.pop(_TOKEN_VARIABLE, None)

    def start(self, requests: Path, answers: Path, model: str | None) -> RunBatchProcess:
        """Start or continue a batch. Raises as ``ServedModels.launcher_for``."""
        files = ["-i", str(requests), "-o", str(answers)]
        # nothing is downloaded for a client, and nothing is sent elsewhere
        fixed = ["--resume", "--backend", "local", "--offline", "--json", "-q"]
        command = child_processes.module_command(
            "llmcli", "run-batch", *files, *fixed, *self._options, *self._models.batch_options(model)
        )
        log = answers.with_suffix(".log")
        with os.fdopen(private_files.open_file(log, os.O_WRONLY | os.O_TRUNC), "wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 (its words are those of this program)
                command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for the server
                umask=_PRIVATE_UMASK,
            )
        return RunBatchProcess(process, answers, log)


class RunBatchProcess:
    """One process (a ``BatchProcess`` of the queue); ``log`` has its messages."""

    def __init__(self, process: subprocess.Popen[bytes], answers: Path, log: Path) -> None:
        self._process = process
        self._answers = answers
        self._log = log

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def count(self) -> tuple[int, int]:
        """Return how many requests have succeeded and failed at its last checkpoint."""
        job = load_job(self._answers)
        return (0, 0) if job is None else (job.progress.done - job.progress.failed, job.progress.failed)

    def finish(self) -> None:
        """End the input of the job."""
        self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """End it at once, with its progress saved."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def failure(self) -> str:
        """Return its last message."""
        lines = self._log.read_bytes().splitlines()
        with suppress(IndexError, ValueError, KeyError, TypeError):
            return str(json.loads(lines[-1])["error"]["message"])
        code = self._process.returncode
        if code is not None and code < 0:
            return f"llm run-batch was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"llm run-batch ended with exit code {code}"
