"""Nodes, hours and cost of a job of many records: on a farm of CPUs, with vLLM on GPUs, and by a hosted model.

Usage: llm models tune --json > tune.jsonl; python benchmarks/cluster_cost.py tune.jsonl --new-tokens 25

Rates are the reader's own. For a node with CPUs they are in the output of ``llm models tune --json`` on such a node: a
record takes its new tokens at the rate of prompts, and the tokens of its answer at the rate of 32 answers at once (16,
if that is faster). For a GPU, ``--gpu-rate`` is the rate that vLLM's own benchmark prints for requests of this size:

    vllm bench throughput --model MODEL --input-len TOKENS --output-len TOKENS

The default prices are examples, as of 2026-11-30, and not those of a particular offer: pass those that you pay.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_HOUR_S = 3600
_MILLION = 1_000_000
_FIRST_ANSWERS = ("at_once_32", "at_once_16")


@dataclass(frozen=True)
class Job:
    """Records, and the tokens of each: those that are new, those that all records share, and those of the answer."""

    records: int
    new_tokens: float
    shared_tokens: float
    answer_tokens: float


@dataclass(frozen=True)
class Plan:
    """A way to do the job: ``rate`` in records a second of each node, None for a hosted model; ``hours`` from start to end."""

    name: str
    rate: float | None
    nodes: int | None
    hours: float
    cost: float


def cpu_rate(rows: Iterable[Mapping[str, Any]], job: Job) -> tuple[str, float]:
    """Return the weights that are fastest for the job among those that llm uses, and their records a second."""
    rates = {row["weights"]: 1 / _record_seconds(row, job) for row in rows if row.get("faithful", True)}
    if not rates:
        raise ValueError("the output of llm models tune --json has no weights that llm uses")
    return max(rates.items(), key=lambda item: item[1])


def _record_seconds(row: Mapping[str, Any], job: Job) -> float:
    decode = max(row.get(name) or 0.0 for name in _FIRST_ANSWERS)
    return job.new_tokens / row["prompt"] + (job.answer_tokens / decode if job.answer_tokens else 0.0)


def plan_nodes(name: str, rate: float, price: float, job: Job, *, hours: float, loss: float) -> Plan:
    """Return how many nodes of ``rate`` records a second do the job within ``hours``, at ``price`` an hour each.

    ``loss`` is the share of the time that is lost: to starts, restarts, and the last nodes that still work.
    """
    node_hours = job.records / (rate * (1 - loss)) / _HOUR_S
    nodes = math.ceil(node_hours / hours)
    return Plan(name, rate, nodes, node_hours / nodes, node_hours * price)


def plan_hosted(job: Job, prices: tuple[float, float, float], *, discount: float, tokens_per_minute: float) -> Plan:
    """Return what a hosted model takes; ``prices`` of a million new, shared (cached) and answered tokens."""
    tokens = (job.new_tokens, job.shared_tokens, job.answer_tokens)
    cost = sum(count * price for count, price in zip(tokens, prices, strict=True)) * job.records / _MILLION
    hours = sum(tokens) * job.records / tokens_per_minute / 60
    return Plan("hosted model, batches", None, None, hours, cost * (1 - discount))


def format_plans(job: Job, plans: Iterable[Plan], currency: str) -> str:
    """Return the table."""
    head = ("", "records/s of a node", "nodes", "hours", currency)
    rows = [
        (
            plan.name,
            "-" if plan.rate is None else f"{plan.rate:,.1f}",
            "-" if plan.nodes is None else f"{plan.nodes:,}",
            f"{plan.hours:,.0f}",
            f"{plan.cost:,.0f}",
        )
        for plan in plans
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    tokens = f"{job.new_tokens:g} new tokens, {job.shared_tokens:g} shared, {job.answer_tokens:g} written"
    lines = [f"{job.records:,} records, for each {tokens}"]
    for row in (head, *rows):
        first, *others = (
            f"{cell:<{width}}" if not at else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]))
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tune", nargs="?", help="the output of llm models tune --json on a node; - is standard input")
    options.add_argument("--records", type=float, default=1e9, help="default: a billion")
    options.add_argument("--new-tokens", type=float, required=True, help="of a record, as llm tokens counts them")
    options.add_argument("--shared-tokens", type=float, default=0, help="instructions, which a node evaluates once")
    options.add_argument("--answer-tokens", type=float, default=0, help="0 for labels, which are scored")
    options.add_argument(
        "--hours", type=float, default=168, help="within which the job is to be done (default: a week)"
    )
    options.add_argument("--loss", type=float, default=0.1, help="share of the time that is lost (default: 0.1)")
    options.add_argument("--currency", default="USD")
    options.add_argument("--node-rate", type=float, help="records a second of a node, instead of the rates of TUNE")
    options.add_argument("--node-price", type=float, default=0.10, help="of an hour of a CPU node")
    options.add_argument("--gpu-rate", type=float, help="requests a second of a GPU, by vllm bench throughput")
    options.add_argument("--gpu-price", type=float, default=2.50, help="of an hour of a GPU")
    options.add_argument("--input-price", type=float, default=0.10, help="of a hosted model, for a million new tokens")
    options.add_argument("--cached-price", type=float, default=0.025, help="for a million shared tokens")
    options.add_argument("--output-price", type=float, default=0.40, help="for a million tokens of answers")
    options.add_argument("--batch-discount", type=float, default=0.5, help="share by which batches are cheaper")
    options.add_argument("--tokens-per-minute", type=float, default=30e6, help="limit of a hosted model")
    return options


def make_plans(given: argparse.Namespace, job: Job) -> list[Plan]:
    """Return the ways for which there are rates. Raises ``ValueError``, ``KeyError`` and ``OSError`` for bad ones."""
    plans = []
    shared: dict[str, float] = {"hours": given.hours, "loss": given.loss}
    if given.node_rate:
        plans.append(plan_nodes("CPU nodes, measured", given.node_rate, given.node_price, job, **shared))
    elif given.tune:
        with sys.stdin if given.tune == "-" else open(given.tune, encoding="utf-8") as file:  # noqa: PTH123 (the name is a text)
            weights, rate = cpu_rate(map(json.loads, file), job)
        plans.append(plan_nodes(f"CPU nodes, {weights} weights", rate, given.node_price, job, **shared))
    if given.gpu_rate:
        plans.append(plan_nodes("GPUs", given.gpu_rate, given.gpu_price, job, **shared))
    prices = given.input_price, given.cached_price, given.output_price
    hosted = plan_hosted(job, prices, discount=given.batch_discount, tokens_per_minute=given.tokens_per_minute)
    return [*plans, hosted]


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    given = make_parser().parse_args(argv)
    job = Job(round(given.records), given.new_tokens, given.shared_tokens, given.answer_tokens)
    print(format_plans(job, make_plans(given, job), given.currency))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
