"""The child of ``reader_process``: reads files from standard input within limits, and writes their sections."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import IO, Any

from llmcli.address_space import used_bytes
from llmcli.documents.reading.passages import limit_text
from llmcli.errors import BadDocument, MissingExtra


def main() -> None:
    """Read files until standard input ends."""
    start_bytes, allowed = used_bytes(), resource.getrlimit(resource.RLIMIT_AS)[0]
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while line := requests.readline():
        request = json.loads(line)
        limit_memory(start_bytes + request["size"] + request["memory_bytes"], allowed)
        data = requests.read(request["size"])
        limit_cpu(request["cpu_s"])
        try:
            with _end_with_parent():
                _read(request, data, answers)
        except BadDocument as error:
            _answer(answers, error="document", detail=error.detail, line=error.line)
        except MissingExtra as error:
            _answer(answers, error="missing", subject=error.subject, detail=error.detail)
        except MemoryError:
            _answer(answers, error="memory")
        answers.flush()


@contextlib.contextmanager
def _end_with_parent() -> Iterator[None]:
    """Let SIGIO end this process when the other end of standard input is closed, also in the middle of native code.

    Linux sends it for pipes. Elsewhere the process ends after the file, or at the limit of its time.
    """
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        yield
    finally:
        fcntl.fcntl(0, fcntl.F_SETFL, flags)


def limit_memory(most: int, allowed: int) -> None:
    """Let this process have ``most`` bytes of address space, but no more than it was ``allowed`` at its start."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def limit_cpu(seconds: int) -> None:
    """Let this process have ``seconds`` more of processor time; then SIGXCPU ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _read(request: dict[str, Any], data: bytes, answers: IO[bytes]) -> None:
    module, _, function = request["reader"].partition(":")
    read = getattr(importlib.import_module(module), function)
    for section in limit_text(read(data, request["name"]), request["characters"]):
        if isinstance(section, str):
            _answer(answers, note=section)
        else:
            _answer(answers, text=section.text, headings=section.headings, page=section.page, part=section.part)
    _answer(answers, end=True)


def _answer(answers: IO[bytes], **fields: Any) -> None:
    answers.write(json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")


if __name__ == "__main__":
    main()
