"""Why a worker ended: read from the log that is its descriptor 2."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from llmcli.errors import Crashed, LlmError

SUBJECT = "the worker"
TOLD = "it was told to end"
_TAIL = 1 << 16
_START = re.compile(r"^\S+ (\d+) starts: ", re.MULTILINE)
_ABORT = re.compile(r"^\S+ \d+ aborts: (.*)$", re.MULTILINE)
_FATAL = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)  # faulthandler's words
_OURS = re.compile(r"\d{4}-\d\d-\d\dT\S+ (\d+) ")
_END = re.compile(r"^\S+ \d+ (ends: .*|ended)$", re.MULTILINE)


def cause(log: Path, code: int | None, pid: int | None = None) -> LlmError:
    """Return the error for a worker that ended; ``code`` is its ``Popen.returncode`` where it was our child.

    The last failed assertion of llama.cpp, the fatal signal, or the last line of a traceback since it started; of a
    worker that was killed nothing of that is there. ``pid``: its process; of one that the log does not know it is the
    last that started.
    """
    text = _words_of(pid, log)
    for pattern in (_ABORT, _FATAL):
        found = pattern.findall(text)
        if found:
            return Crashed(SUBJECT, detail=found[-1].rpartition("/")[2])
    if _END.search(text):
        return Crashed(SUBJECT, detail=TOLD)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ") and not _OURS.match(line)]
    if lines:
        return Crashed(SUBJECT, detail=lines[-1])
    if code is not None and code < 0 and code != -signal.SIGKILL:
        return Crashed(SUBJECT, detail=f"ended by signal {-code} ({signal.strsignal(-code)})")
    if code is None:
        return Crashed(SUBJECT, detail="it left no word: it was killed, or for want of memory, or crashed")
    return Crashed(SUBJECT, detail="it was killed, by somebody or by the system for want of memory")


def _words_of(pid: int | None, log: Path) -> str:
    """Return what the log says of one worker since it started; "" where there is no log.

    Lines of ours say whose they are, those of libraries are its own until the next one starts.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    starts = list(_START.finditer(text))
    if not starts:
        return text
    start = next((each for each in reversed(starts) if int(each[1]) == pid), starts[-1])
    words, speaker = [], start[1]
    for line in text[start.start() :].splitlines(keepends=True):
        started, ours = _START.match(line), _OURS.match(line)
        speaker = started[1] if started else speaker
        if (ours[1] if ours else speaker) == start[1]:
            words.append(line)
    return "".join(words)
