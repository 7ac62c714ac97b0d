"""Why a worker ended, as its log tells; the log is its descriptor 2."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from llmcli.errors import LlmError, WorkerCrashed

WORKER_SUBJECT = "the worker"
STOP_REQUESTED = "it was asked to stop"
_MAX_TAIL_BYTES = 1 << 16
_START_LINE = re.compile(r"^\S+ (\d+) starts: ", re.MULTILINE)
_ABORT_LINE = re.compile(r"^\S+ \d+ aborts: (.*)$", re.MULTILINE)
_FATAL_ERROR_LINE = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)  # written by faulthandler
_WORKER_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (\d+) ")
_END_LINE = re.compile(r"^\S+ \d+ (ends: .*|ended)$", re.MULTILINE)


def find_crash_reason(log: Path, code: int | None, pid: int | None = None) -> LlmError:
    """Return the error for a worker that ended; ``code`` is its ``Popen.returncode`` if it was our child.

    It is the last failed assertion of llama.cpp, the fatal signal, or the last line of a traceback since the worker
    started; a killed worker leaves none of these. ``pid``: its process; if the log does not mention it, the last worker
    that started.
    """
    text = _read_worker_log(pid, log)
    for pattern in (_ABORT_LINE, _FATAL_ERROR_LINE):
        found = pattern.findall(text)
        if found:
            return WorkerCrashed(WORKER_SUBJECT, detail=found[-1].rpartition("/")[2])
    if _END_LINE.search(text):
        return WorkerCrashed(WORKER_SUBJECT, detail=STOP_REQUESTED)
    lines = [
        line for line in text.splitlines() if line.strip() and not line.startswith(" ") and not _WORKER_LINE.match(line)
    ]
    if lines:
        return WorkerCrashed(WORKER_SUBJECT, detail=lines[-1])
    if code is not None and code < 0 and code != -signal.SIGKILL:
        return WorkerCrashed(WORKER_SUBJECT, detail=f"ended by signal {-code} ({signal.strsignal(-code)})")
    if code is None:
        return WorkerCrashed(
            WORKER_SUBJECT, detail="it logged no reason: it was killed, perhaps for lack of memory, or it crashed"
        )
    return WorkerCrashed(WORKER_SUBJECT, detail="it was killed, by a user or by the system for lack of memory")


def _read_worker_log(pid: int | None, log: Path) -> str:
    """Return one worker's part of the log, from its start on; "" if there is no log.

    Our lines carry a process id; lines of libraries count as this worker's until the next one starts.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _MAX_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    starts = list(_START_LINE.finditer(text))
    if not starts:
        return text
    start = next((each for each in reversed(starts) if int(each[1]) == pid), starts[-1])
    words, owner = [], start[1]
    for line in text[start.start() :].splitlines(keepends=True):
        started, ours = _START_LINE.match(line), _WORKER_LINE.match(line)
        owner = started[1] if started else owner
        if (ours[1] if ours else owner) == start[1]:
            words.append(line)
    return "".join(words)
