"""The output of ``--stats``: tokens, times and work behind the results of one command."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from llmcli.fast_dataclass import asdict, frozen
from llmcli.types import BackendStats, ServerStats, Timings, Usage

if TYPE_CHECKING:
    from llmcli.config.engine_options import LoraAdapter


@frozen
class CommandStats:
    """The statistics of a command; None if unknown.

    ``usage_is_known`` is false where a server has not reported the tokens of each answer; the counts are then those that
    are known. ``cost``, in ``currency``, is None without a price (``currency`` is ""), and where some answer's cost is
    not known; ``known_cost`` is the cost of the others.
    For one result, the times are its own. For several, ``first_token_s`` is the shortest, ``total_s`` the wall-clock
    seconds of the job, and ``tokens_per_second`` all tokens divided by these. The rest are the fields of
    ``BackendStats``.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None
    tokens_per_second: float | None
    total_s: float
    decode_threads: int | None
    prompt_threads: int | None
    width: int | None
    peak_memory_bytes: int | None
    joules: float | None
    draft_tokens: int = 0
    accepted_draft_tokens: int = 0
    draft_off: str = ""
    cost: float | None = None
    known_cost: float | None = None
    currency: str = ""
    usage_is_known: bool = True
    weights: str | None = None
    adapters: tuple[LoraAdapter, ...] = ()
    servers: tuple[ServerStats, ...] = ()

    def format_line(self) -> str:
        """Return one line for people with the known values; missing energy is mentioned."""
        from llmcli.cli.console.messages.message_text import format_bytes

        parts = [
            self._format_tokens(),
            "" if self.first_token_s is None else f"first in {_format_number(self.first_token_s)} s",
            "" if self.tokens_per_second is None else f"{_format_number(self.tokens_per_second)} tokens/s",
            f"{_format_number(self.total_s)} s total",
            self._format_drafts(),
            self._format_threads(),
            "" if self.weights is None else f"{self.weights} weights",
            "" if self.width is None else f"width {self.width}",
            "" if self.peak_memory_bytes is None else f"peak {format_bytes(self.peak_memory_bytes)}",
            "energy not available" if self.joules is None else f"energy {_format_number(self.joules)} J",
            self._format_cost(),
            *map(_format_server, self.servers),
            *(f"LoRA {os.path.basename(adapter.path)} * {adapter.scale:g}" for adapter in self.adapters),  # noqa: PTH119 (the path is a text)
        ]
        return "llm: " + ", ".join(part for part in parts if part)

    def _format_tokens(self) -> str:
        if not self.usage_is_known and not (self.prompt_tokens or self.completion_tokens):
            return "tokens unknown"
        least = "" if self.usage_is_known else "at least "
        return f"{least}{self.prompt_tokens} tokens in ({self.cached_tokens} reused), {self.completion_tokens} out"

    def _format_cost(self) -> str:
        from llmcli.config.backend_config import format_amount

        if self.cost is not None:
            return f"cost {format_amount(self.cost, self.currency)}"
        if self.known_cost is None:
            return ""
        return "cost unknown" + (
            f" (at least {format_amount(self.known_cost, self.currency)})" if self.known_cost else ""
        )

    def _format_drafts(self) -> str:
        said = f"{self.accepted_draft_tokens} of {self.draft_tokens} draft tokens accepted"
        parts = [said if self.draft_tokens else "", f"draft model off ({self.draft_off})" if self.draft_off else ""]
        return ", ".join(filter(None, parts))

    def _format_threads(self) -> str:
        if self.decode_threads is None:
            return ""
        others = self.prompt_threads not in {None, self.decode_threads}
        return f"threads {self.decode_threads}" + (f" (prompts {self.prompt_threads})" if others else "")

    def to_json(self) -> str:
        """Return the same as one line of JSON, an object called "stats"."""
        known = asdict(self)
        if self.known_cost is None:
            del known["cost"], known["known_cost"], known["currency"]
        elif self.cost is not None:
            del known["known_cost"]
        if self.usage_is_known:
            del known["usage_is_known"]
        if not (self.draft_tokens or self.draft_off):
            del known["draft_tokens"], known["accepted_draft_tokens"], known["draft_off"]
        if self.weights is None:
            del known["weights"]
        known["servers"] = [asdict(server) for server in self.servers]
        if not self.servers:
            del known["servers"]
        known["adapters"] = [adapter.to_json() for adapter in self.adapters]
        if not self.adapters:
            del known["adapters"]
        return json.dumps({"stats": known})


def _format_server(server: ServerStats) -> str:
    failed = f", failed {server.failed} times" if server.failed > 1 else ", failed once" if server.failed else ""
    problem = f", set aside: {server.problem}" if server.problem else ""
    other_model = ", with another model" if server.warning else ""
    return f"{server.address} answered {server.answered}{other_model}{failed}{problem}"


def _format_number(number: float) -> str:
    """Return a number with fewer decimals the larger it is."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"  # noqa: PLR2004 (three digits)


def collect_stats(
    usage: Usage,
    timings: Timings,
    work: BackendStats,
    *,
    before: BackendStats | None = None,
    currency: str = "",
    adapters: tuple[LoraAdapter, ...] = (),
) -> CommandStats:
    """Return the statistics of a job with one result or more, with the cost in ``currency`` if its price is known.

    ``before``: the work of earlier jobs on the same backend. ``adapters``: those of the model.
    """
    before = before or BackendStats()
    known_cost = None if work.cost is None else round(work.cost - (before.cost or 0.0), 9)
    is_cost_known = work.num_unknown_costs == before.num_unknown_costs
    counts = {name: count for name, count in asdict(usage).items() if name != "is_known"}
    return CommandStats(
        **counts,
        **asdict(timings),
        usage_is_known=usage.is_known,
        decode_threads=work.decode_threads,
        prompt_threads=work.prompt_threads,
        width=work.width,
        peak_memory_bytes=work.peak_memory,
        joules=work.joules,
        draft_off=work.draft_off,
        cost=known_cost if is_cost_known else None,
        known_cost=known_cost,
        currency=currency,
        weights=work.weights,
        adapters=adapters,
        servers=work.servers,
    )
