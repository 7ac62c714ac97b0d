"""What ``--stats`` says: the tokens, the times and the work behind the results of one command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from llmcli.cli import wording
from llmcli.types import Result, Usage, Work


@dataclass(frozen=True, slots=True)
class Stats:
    """What a command cost; None where that is unknown.

    ``first_token_s`` and ``total_s``: seconds from the submission of the first request to its first token, and of the
    slowest result to its end. ``tokens_per_second`` of the decode phase. The rest are the fields of ``types.Work``.
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

    def line(self) -> str:
        """Return one line for people, of what is known; that no energy is known is said."""
        parts = [
            f"{self.prompt_tokens} tokens in ({self.cached_tokens} reused), {self.completion_tokens} out",
            "" if self.first_token_s is None else f"first in {_rounded(self.first_token_s)} s",
            "" if self.tokens_per_second is None else f"{_rounded(self.tokens_per_second)} tokens/s",
            f"{_rounded(self.total_s)} s in all",
            self._threads(),
            "" if self.width is None else f"width {self.width}",
            "" if self.peak_memory_bytes is None else f"peak {wording.size(self.peak_memory_bytes)}",
            "energy not available" if self.joules is None else f"energy {_rounded(self.joules)} J",
        ]
        return "llm: " + ", ".join(part for part in parts if part)

    def _threads(self) -> str:
        if self.decode_threads is None:
            return ""
        others = self.prompt_threads not in {None, self.decode_threads}
        return f"threads {self.decode_threads}" + (f" (prompts {self.prompt_threads})" if others else "")

    def json(self) -> str:
        """Return the same as one line of JSON, an object called "stats"."""
        return json.dumps({"stats": asdict(self)})


def _rounded(number: float) -> str:
    """Return a number as it is of use: with fewer digits after the point the larger it is."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"  # noqa: PLR2004


def stats(results: Sequence[Result], work: Work) -> Stats:
    """Return what ``results`` (at least one) cost; several ran side by side, so that their rate is that of all."""
    usage = sum((result.usage for result in results), Usage())
    firsts = [result.timings.first_token_s for result in results if result.timings.first_token_s is not None]
    first, total = min(firsts, default=None), max(result.timings.total_s for result in results)
    rate = results[0].timings.tokens_per_second
    if len(results) > 1:
        decoding = 0.0 if first is None else total - first
        rate = usage.completion_tokens / decoding if decoding > 0 and usage.completion_tokens > 1 else None
    return Stats(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        first_token_s=first,
        tokens_per_second=rate,
        total_s=total,
        decode_threads=work.decode_threads,
        prompt_threads=work.prompt_threads,
        width=work.width,
        peak_memory_bytes=work.peak_memory,
        joules=work.joules,
    )
