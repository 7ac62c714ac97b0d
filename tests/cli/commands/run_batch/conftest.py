from __future__ import annotations

import json

import pytest


@pytest.fixture
def run_lines(llm, server, write, tmp_path):
    """Return a function that runs ``llm run-batch`` on lines, and returns the run and the lines of its output."""

    def call(lines, *argv, **how):
        path, out = write("in.jsonl", "".join(f"{each}\n" for each in lines)), tmp_path / "out.jsonl"
        argv = argv or ("--base-url", server.url, "-m", "big")
        done = llm("run-batch", "-i", path, "-o", str(out), *argv, "--yes", **how)
        return done, [json.loads(each) for each in out.read_text().splitlines()] if out.exists() else []

    return call
