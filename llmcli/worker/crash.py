"""Why a worker ended: read from the log that is its descriptor 2."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from llmcli.errors import Crashed, LlmError

SUBJECT = "the worker"
_TAIL = 1 << 16
_START = re.compile(r"^\S+ \d+ starts: ", re.MULTILINE)
_ABORT = re.compile(r"^\S+ \d+ aborts: (.*)$", re.MULTILINE)
_FATAL = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)  # faulthandler's words
_OURS = re.compile(r"\d{4}-\d\d-\d\dT\S+ \d+ ")
_END = re.compile(r"^\S+ \d+ (ends: .*|ended)$", re.MULTILINE)


def cause(log: Path, code: int | None) -> LlmError:
    """Return the error for a worker that ended; ``code`` is its ``Popen.returncode`` where it was our child.

    The last failed assertion of llama.cpp, the fatal signal, or the last line of a traceback since it started; of a
    worker that was killed nothing of that is there.
    """
    text = _since_start(log)
    for pattern in (_ABORT, _FATAL):
        found = pattern.findall(text)
        if found:
            return Crashed(SUBJECT, detail=found[-1].rpartition("/")[2])
    if _END.search(text):
        return Crashed(SUBJECT, detail="it was told to end")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ") and not _OURS.match(line)]
    if lines:
        return Crashed(SUBJECT, detail=lines[-1])
    if code is not None and code < 0 and code != -signal.SIGKILL:
        return Crashed(SUBJECT, detail=f"ended by signal {-code} ({signal.strsignal(-code)})")
    if code is None:
        return Crashed(SUBJECT, detail="it left no word: it was killed, or for want of memory, or crashed")
    return Crashed(SUBJECT, detail="it was killed, by somebody or by the system for want of memory")


def _since_start(log: Path) -> str:
    """Return what the log says since the last worker started; "" where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    starts = list(_START.finditer(text))
    return text[starts[-1].start() :] if starts else text
