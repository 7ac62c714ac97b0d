"""What the verbs share: options become requests, events become answers and results."""

from __future__ import annotations

from dataclasses import dataclass

from llmcli.types import Priority


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; None leaves the choice to the prompt file, then to the verb.

    ``max_tokens`` is the user's own limit: an answer that it ends is not a cut one. ``deadline`` is a
    ``time.monotonic()`` value. ``reasoning`` lets a thinking model think.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    priority: Priority | None = None
    deadline: float | None = None
    reasoning: bool = False
