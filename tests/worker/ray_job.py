"""A job on a local cluster of Ray with two nodes, one of which is killed in its middle; run by ``test_ray_cluster``.

    python ray_job.py INPUT.csv OUTPUT.jsonl DIRECTORY LABEL,LABEL

The output has a row for each row of the input, in order. By files in DIRECTORY, actors and
this program meet. Prints a line of JSON: the seconds of the job, and how many nodes were alive at its end.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llmcli.ray import Classify

BATCH_ROWS, BATCHES = 8, 12
_POLL_S = 0.05
_LIMIT_S = 150.0


class Labeller(Classify):
    """Names the node of each row. On the node ``victim``, the second batch waits until the node is killed."""

    def __init__(self, labels, *, victim, meeting, **common):
        super().__init__(labels, **common)
        self._victim, self._meeting, self._batches = victim, Path(meeting), 0

    def __call__(self, batch):
        node = ray.get_runtime_context().get_node_id()
        if self._batches and node == self._victim:
            (self._meeting / "waiting").touch()
            time.sleep(_LIMIT_S)
        elif self._batches:  # the other node leaves a batch for it
            wait_until((self._meeting / "waiting").exists, "the other node")
        self._batches += 1
        return super().__call__(batch)


def place_in_turn(*nodes):
    """Return a function that places each actor on the next node, or on another one if that is gone.

    "SPREAD" is only a preference: sometimes Ray starts both actors on one node.
    """
    turns = itertools.cycle(nodes)
    return lambda: {"scheduling_strategy": NodeAffinitySchedulingStrategy(next(turns), soft=True)}


def wait_until_known(node):
    """Wait until work that is placed on a node runs there.

    A node that has just joined is in the list of nodes before all schedulers know it; until then, Ray takes another
    node.
    """
    there = NodeAffinitySchedulingStrategy(node, soft=True)
    own_node = ray.remote(num_cpus=0, scheduling_strategy=there)(lambda: ray.get_runtime_context().get_node_id())
    wait_until(lambda: ray.get(own_node.remote()) == node, f"node {node}")


def wait_until(is_so, name):
    """Ask until the answer is yes; raise ``TimeoutError`` with the name after a while."""
    until = time.monotonic() + _LIMIT_S
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(name)
        time.sleep(_POLL_S)


def run(source, labels, meeting):
    """Return the rows of the job in the order of their ids, and its seconds."""
    # of an actor that needs no resource, Ray does not look at the node it is placed on
    node_args = {"num_cpus": 1, "resources": {"place": 2}, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node_args, "include_dashboard": False})
    second = cluster.add_node(**node_args)
    ray.init(address=cluster.address)
    try:
        wait_until_known(second.node_id)
        rows, begun = ray.data.read_csv(source).repartition(BATCHES), time.monotonic()
        labelled = rows.map_batches(
            Labeller,
            fn_constructor_args=[labels],
            fn_constructor_kwargs={"victim": second.node_id, "meeting": meeting, "column": "text"},
            batch_size=BATCH_ROWS,
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0,
            resources={"place": 1},
            ray_remote_args_fn=place_in_turn(cluster.head_node.node_id, second.node_id),
        )
        threading.Thread(target=kill, args=(cluster, second, Path(meeting)), daemon=True).start()
        found = sorted(labelled.take_all(), key=lambda row: row["id"])
        seconds = time.monotonic() - begun
        return found, {"seconds": seconds, "alive": sum(node["Alive"] for node in ray.nodes())}
    finally:
        ray.shutdown()
        cluster.shutdown()


def kill(cluster, node, meeting):
    """End a node by SIGKILL as soon as its actor has answered a batch and works on the next."""
    wait_until((meeting / "waiting").exists, "the other node")
    cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    source, output, meeting, labels = sys.argv[1:]
    rows, figures = run(source, labels.split(","), meeting)
    Path(output).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    print(json.dumps(figures))
