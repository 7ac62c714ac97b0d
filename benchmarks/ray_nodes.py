"""Labels of records by ``llm classify`` and by Ray on one and on two nodes of this machine, in pairs.

    RAY_worker_niceness=0 RAY_kill_child_processes_on_worker_exit=0 python benchmarks/ray_nodes.py [RECORDS] [ROUNDS]

The nodes share the processor and the worker, so that the figure says what Ray itself costs: on two machines, each has
its own. A rate counts from the start of the first batch to the end of the last one; the start of a cluster and of its
actors is printed apart. Each job has texts of its own, so that no prefix cache has seen them. The model is that of
``LLMCLI_MODEL``.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

from llmcli.ray import Classify

SEEDS = itertools.count(int(time.time()))
LABELS = ("delivery", "quality", "price")
BATCH_ROWS = 48


class TimedClassify(Classify):
    """Adds the times at which each batch began and ended."""

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the labelled batch."""
        began = time.time()
        labelled = super().__call__(batch)
        count = len(batch["text"])
        return {**labelled, "began": np.full(count, began), "ended": np.full(count, time.time())}


def make_texts(count: int) -> list[str]:
    """Return texts that no earlier call has returned."""
    chance = random.Random(next(SEEDS))  # noqa: S311 (no secret)
    things, states = ("parcel", "handle", "bill", "driver"), ("late", "fine", "broken", "too high", "friendly")
    return [
        f"Review {chance.randrange(10**6)}: the {chance.choice(things)} was {chance.choice(states)} and the "
        f"{chance.choice(things)} {chance.choice(states)}."
        for _ in range(count)
    ]


def run_ray(records: int, actors: int) -> tuple[float, float]:
    """Return the rate of a job, and the seconds before its first batch."""
    rows = ray.data.from_items([{"text": text} for text in make_texts(records)])
    begun = time.time()
    labelled = rows.repartition(records // BATCH_ROWS).map_batches(
        TimedClassify,
        fn_constructor_args=[LABELS],
        batch_size=BATCH_ROWS,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=0,
        scheduling_strategy="SPREAD",
    )
    found = labelled.take_all()
    assert [row["error"] for row in found] == [""] * records
    first, last = min(row["began"] for row in found), max(row["ended"] for row in found)
    return records / (last - first), first - begun


def run_command(records: int, directory: str) -> float:
    """Return the rate of the command, with its start."""
    path = Path(directory) / "records.txt"
    path.write_text("".join(f"{text}\n" for text in make_texts(records)), "utf-8")
    command = [sys.executable, "-m", "llmcli", "classify", "--labels", ",".join(LABELS), str(path)]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return records / (time.monotonic() - begun)


def main(records: int = 512, rounds: int = 2) -> None:
    """Print the rates of each round."""
    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as directory:
        run_command(BATCH_ROWS, directory)  # the worker is warm
        begun = time.monotonic()
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False)
        print(f"the cluster has started in {time.monotonic() - begun:.1f} s")
        try:
            for _ in range(rounds):
                alone = run_command(records, directory)
                one, one_start = run_ray(records, 1)
                two, two_start = run_ray(records, 2)
                print(
                    f"records/s: command {alone:.1f}, one node {one:.1f} (after {one_start:.1f} s), "
                    f"two nodes {two:.1f} (after {two_start:.1f} s): {two / one:.2f} of one, {two / alone:.2f} of the command"
                )
        finally:
            ray.shutdown()
            cluster.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main(*map(int, sys.argv[1:]))
