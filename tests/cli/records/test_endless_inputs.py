"""Pipes that go on: answers come at once, and memory stays where it is."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from llm_fixtures import process

__all__ = ["process"]


@pytest.mark.parametrize(("head", "line"), [("", "{}\n"), ("id,text\n", "1,{}\n"), ("", '{{"text": "{}"}}\n')])
def test_each_record_is_answered_before_the_next_one_comes(process, head, line):
    """Of lines, CSV and JSON Lines, blank ones too."""
    options = ["--format", "csv"] if head else []
    with process("sentiment", "-q", *options, stdin=subprocess.PIPE) as child:
        child.stdin.write(head.encode())
        for number, text in enumerate(["good", "", "bad"]):
            child.stdin.write(line.format(text).encode())
            child.stdin.flush()
            if head and not number:
                assert child.stdout.readline().startswith(b"id,text,label")
            answer = child.stdout.readline()
            assert answer.endswith(b"\n") and (b"0." in answer) == bool(text)
        child.stdin.close()
        assert child.wait(60) == 0 and child.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_where_it_is(process):
    """An endless input of blank lines fills neither a queue nor a list."""
    with process("sentiment", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, 4096)

        def feed(lines: int) -> int:
            for _ in range(lines // 1000):
                child.stdin.write(b"\n" * 1000)
            child.stdin.flush()
            status = Path(f"/proc/{child.pid}/status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0])

        early = feed(20_000)  # much more than this pipe holds, so that all modules are imported
        late = feed(60_000)
        child.stdin.close()
        assert child.wait(60) == 0
    assert late - early < 2048  # kB: 35 bytes a line; a record takes more
