"""Schedulers of the examples, with a local process in the place of each node: sbatch, parallel and kubectl.

    python cluster.py PROGRAM ARGUMENT...

Only what docs/shards.md uses is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml


def run_nodes(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> int:
    """Run commands at the same time, each with its variables; return the highest exit code."""
    nodes = [subprocess.Popen(argv, env={**os.environ, **variables}) for argv, variables in commands]
    return max(node.wait() for node in nodes)


def sbatch(script: str) -> int:
    """Run a script once for each task of its array, whose numbers begin with 1."""
    last = int(re.search(r"^#SBATCH --array=1-(\d+)$", Path(script).read_text(encoding="utf-8"), re.MULTILINE)[1])
    count = {"SLURM_ARRAY_TASK_COUNT": str(last)}
    return run_nodes([(["bash", script], {**count, "SLURM_ARRAY_TASK_ID": str(n)}) for n in range(1, last + 1)])


def parallel(argv: Sequence[str]) -> int:
    """Run the command before ``:::`` with each value behind it."""
    at = argv.index(":::")
    return run_nodes([(["sh", "-c", argv[at - 1].replace("{}", value)], {}) for value in argv[at + 1 :]])


def kubectl(argv: Sequence[str]) -> int:
    """Run each pod of an indexed job; waiting for it is then over."""
    if argv[0] == "wait":
        return 0
    job = yaml.safe_load(Path(argv[-1]).read_text(encoding="utf-8"))["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    command = container["command"] + container["args"]
    return run_nodes([(command, {"JOB_COMPLETION_INDEX": str(index)}) for index in range(job["completions"])])


def main(program: str, *argv: str) -> int:
    """Run a program; return its exit code."""
    return sbatch(argv[-1]) if program == "sbatch" else {"parallel": parallel, "kubectl": kubectl}[program](argv)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
