"""Readers of native formats in a child process, with limits on memory and time: a file that kills one is an error.

PDFium, calamine and mammoth allocate what a file of some kilobytes tells them to, and abort where the memory ends. The
child is ``llmcli.documents.reading.reader_child``. It starts with the first such file and reads the following ones too.
A request is a line of JSON (the reader, the name that it gets, the size of the file, and the limits) and the bytes of
the file. The answer is a line of JSON for each section or note, and one for the end.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from llmcli import child_processes
from llmcli.documents.reading.passages import Section
from llmcli.errors import BadDocument, MissingExtra

MAX_MEMORY_BYTES = 2 << 30
"""Address space of the child beside that of Python and the file."""
MAX_CPU_S, CPU_S_PER_MIB = 10, 2
"""Seconds of processor time for a file of any size, and for each MiB of it."""
MAX_CHARACTERS = 24_000_000
"""Characters of a document that come to this process, headings included; some take four bytes each, three times."""
_CHILD_MODULE = "llmcli.documents.reading.reader_child"
_OUT_OF_MEMORY_LINE = "memory allocation of"
"""How Rust's standard library begins its last words when the memory ends."""
_idle_processes: list[ReaderProcess] = []
"""Children that wait for the next file. A thread that an interrupt abandoned may still use another one."""


@atexit.register
def _close_idle_processes() -> None:
    while _idle_processes:
        _idle_processes.pop().close()


def read_in_child(
    reader: str, data: bytes, name: str = "", *, memory_bytes: int | None = None
) -> Iterator[Section | str]:
    """Yield what ``reader`` ("module:function") yields for the file ``data`` and ``name``.

    ``memory_bytes`` None: ``MAX_MEMORY_BYTES``. Raises what the reader raises (``BadDocument``, ``MissingExtra``), and
    ``BadDocument`` where it exceeds a limit or dies.
    """
    process = _idle_processes.pop() if _idle_processes else ReaderProcess()
    try:
        yield from process.read(reader, data, name, MAX_MEMORY_BYTES if memory_bytes is None else memory_bytes)
    finally:
        if process.is_idle:
            _idle_processes.append(process)
        else:
            process.close()


class ReaderProcess:
    """A child that reads one file after the other. It ends with its standard input, so no process is left behind."""

    def __init__(self) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._child = subprocess.Popen(  # noqa: S603 (our own module)
            child_processes.module_command(_CHILD_MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd="/",
            env=child_processes.child_env(os.environ),
        )
        self.is_idle = True
        """Whether it can read another file: it lives, and its last answer has ended."""

    def read(self, reader: str, data: bytes, name: str, memory_bytes: int) -> Iterator[Section | str]:
        """Yield the sections and notes of a file. Raises as ``read_in_child``."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self.is_idle = False
        cpu_s = MAX_CPU_S + CPU_S_PER_MIB * (len(data) >> 20)
        request = {
            "reader": reader,
            "name": name,
            "size": len(data),
            "cpu_s": cpu_s,
            "memory_bytes": memory_bytes,
            "characters": MAX_CHARACTERS,
        }
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except BrokenPipeError:  # it died; the end of its output says so too
            raise self._describe_death(cpu_s, memory_bytes) from None
        while line := self._child.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if "text" in answer:
                yield Section(answer["text"], tuple(answer["headings"]), answer["page"], answer["part"])
            elif "note" in answer:
                yield str(answer["note"])
            else:
                self.is_idle = answer.get("error") != "memory"  # what is left of that file would count again
                if "error" in answer:
                    raise _make_error(answer, memory_bytes)
                return
        raise self._describe_death(cpu_s, memory_bytes)

    def close(self) -> None:
        """End it."""
        self._child.kill()
        with self._child:
            self._stderr.close()

    def _describe_death(self, cpu_s: int, memory_bytes: int) -> BadDocument:
        code = self._child.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").splitlines()
        last = lines[-1].strip() if lines else ""
        out_of_memory = any(line.startswith((_OUT_OF_MEMORY_LINE, "MemoryError")) for line in lines)
        if code == -signal.SIGXCPU:
            return BadDocument(detail=f"reading it takes more than {cpu_s} seconds")
        if code == -signal.SIGKILL or out_of_memory:
            return BadDocument(detail=_out_of_memory(memory_bytes))
        cause = (signal.strsignal(-code) or f"signal {-code}") if code < 0 else last or f"exit code {code}"
        needed = f"{memory_bytes >> 20} MiB of memory"
        return BadDocument(detail=f"its reader crashed ({cause}): it is damaged, or needs more than {needed}")


def _out_of_memory(memory_bytes: int) -> str:
    return f"reading it takes more than {memory_bytes >> 20:,} MiB of memory, or more than is free; split the document"


def _make_error(answer: dict[str, Any], memory_bytes: int) -> Exception:
    """Return the error that a reader raised in the child."""
    if answer["error"] == "missing":
        return MissingExtra(answer["subject"], detail=answer["detail"])
    if answer["error"] == "memory":
        return BadDocument(detail=_out_of_memory(memory_bytes))
    return BadDocument(line=answer["line"], detail=answer["detail"])
