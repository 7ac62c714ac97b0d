"""A sequence object holds all of its own state: the tokens to evaluate, the output, and the sink of its events."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

from llmcli.errors import InternalError
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    HiddenStates,
    Phase,
    Priority,
    Request,
    RequestProgress,
    Timings,
    Usage,
)


def common_prefix_length(a: list[int], b: list[int]) -> int:
    """Return the length of the common prefix of two lists of tokens (slices are compared in C)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_prefix_length(lists: list[list[int]]) -> int:
    """Return the length of the common prefix of all lists, leaving each at least one more token."""
    shared = min(common_prefix_length(lists[0], other) for other in lists)
    return min(shared, *(len(tokens) - 1 for tokens in lists))


class TokenStates:
    """Rows of float32, one for each token from the first one on.

    All rows are kept, not only their sum: another sequence may reuse any part of a cached prefix, whose states cannot
    be had from memory again. They take about a tenth of what the KV cache takes for the same tokens.
    """

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, rows: Any) -> None:
        """Add a copy of the next tokens' rows, (tokens, width) float32."""
        self._parts.append(rows.copy())
        self._length += len(rows)

    def prefix(self, length: int) -> TokenStates:
        """Return the states of the first ``length`` tokens. Raises ``InternalError`` if there are fewer."""
        part = TokenStates()
        for rows in self._parts:
            taken = rows[: length - part._length]
            if not len(taken):
                break
            part._parts.append(taken)
            part._length += len(taken)
        if part._length < length:
            raise InternalError("hidden states", detail=f"{length} tokens are cached, but only {part._length} states")
        return part

    def mean(self, start: int, end: int) -> bytes:
        """Return the mean of the rows from ``start`` to ``end`` as little-endian floats, however they arrived."""
        import numpy as np

        parts, position = [], 0
        for rows in self._parts:
            parts.append(rows[max(0, start - position) : max(0, end - position)])
            position += len(rows)
        return bytes(np.concatenate(parts).mean(axis=0, dtype=np.float64).astype("<f4").tobytes())

    def row(self, index: int) -> bytes:
        """Return one row as little-endian floats."""
        for rows in self._parts:
            if index < len(rows):
                return bytes(rows[index].astype("<f4").tobytes())
            index -= len(rows)
        raise IndexError(index)


REPORT_INTERVAL_S = 0.25
"""Seconds between two progress reports of a request."""


class EventSink(Protocol):
    """Receives the events of a request.

    ``full``: the consumer is behind, so the sequence must wait. ``consumer_gone``: the consumer has left, so the
    request must not start.
    """

    @property
    def full(self) -> bool: ...

    @property
    def consumer_gone(self) -> bool: ...

    def emit(self, event: Event) -> None: ...


class Sequence(ABC):
    """Tokens that a model evaluates. ``num_computed_tokens`` of ``tokens`` are in the memory of sequence id ``slot``.

    ``arrival``: its number in the order of arrival. ``first_logit``: the position from which logits are needed.
    ``num_rows``: tokens that it evaluates at least, in however many steps; if it has fewer, others are added at its
    end.
    ``checkpoint_at``: a length at which the state is copied for others (memories that cannot be truncated).
    ``public_prefix_length``: tokens from the start that may be kept on disk; ``save_at``: a length at which they are
    saved. ``document_prefix_length``: tokens from the start that later requests will begin with; ``keep_at``: a length
    at which their state is kept as long as the process runs. ``turn_prefix_length``: tokens from the start with which
    the next turn of a saved conversation will begin, 0 if its answer counts too (memories that can be truncated).
    ``draft_tokens``: tokens expected to follow;
    ``counts_drafts``: they are a draft model's, and count in the usage.
    ``states``: the hidden states of the computed tokens, None in a context that gives none; those from
    ``pooling_start`` to ``num_pooled_tokens`` answer the request. ``compute_s``: seconds of evaluation, its share of
    each batch.
    ``lost_last_step``: its last evaluation was aborted.
    """

    tokens_left = 0
    """Number of tokens that may still be generated."""
    num_forks = 0
    """Sequences that will continue from the end of this one."""

    def __init__(self, request: Request, tokens: list[int], sink: EventSink) -> None:
        self.request = request
        self.tokens = tokens
        self.prompt_length = len(tokens)
        self.first_logit = len(tokens) - 1
        self.sink = sink
        self.arrival = 0
        self.slot: int | None = None
        self.num_computed_tokens = 0
        self.num_cached_tokens = 0
        self.num_rows = 1
        self.checkpoint_at: int | None = None
        self.public_prefix_length = 0
        self.save_at: int | None = None
        self.document_prefix_length = 0
        self.keep_at: int | None = None
        self.turn_prefix_length = 0
        self.draft_tokens: list[int] = []
        self.states: TokenStates | None = None
        self.num_pooled_tokens = len(tokens) if request.hidden_states else 0
        self.pooling_start = 0
        self.counts_drafts = False
        self.num_draft_tokens = self.num_accepted_draft_tokens = 0
        self.compute_s = 0.0
        self.lost_last_step = False
        self.ended = False
        self.cancelled = False
        self.submitted_at = time.monotonic()
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self.num_generated_tokens = 0
        self._states_emitted = False
        self._last_report: RequestProgress | None = None
        self._next_report_at = 0.0

    @property
    def is_interactive(self) -> bool:
        """Whether it runs before bulk work."""
        return self.request.priority is Priority.INTERACTIVE

    @property
    def num_pending_tokens(self) -> int:
        """Number of tokens that are not evaluated yet."""
        return len(self.tokens) - self.num_computed_tokens

    @property
    def is_decoding(self) -> bool:
        """Whether the prompt is evaluated, so that one token a step follows."""
        return self.num_generated_tokens > 0 and self.num_pending_tokens == 1

    @property
    def logits_start(self) -> int:
        """The position from which tokens are evaluated with logits."""
        return self.first_logit

    @property
    def reuse_limit(self) -> int:
        """The most tokens that it may take from another sequence's cells."""
        return max(0, min(self.first_logit, len(self.tokens) - self.num_rows))

    @property
    def is_unreported(self) -> bool:
        """Whether it asked for progress reports and has had none."""
        return self.request.progress and self._last_report is None

    def propose_draft(self, cost: float) -> None:  # noqa: B027 (optional to override: scoring proposes none)
        """Set ``draft_tokens``. ``cost``: of evaluating one of them, as ``draft_row_cost`` returns it."""

    def record_states(self, rows: Any) -> None:
        """Keep the states of the tokens evaluated last, (tokens, width) float32; emit those of a whole prompt."""
        if self.states is None:
            return
        self.states.append(rows)
        length = self.num_pooled_tokens
        if length and len(self.states) >= length and not self._states_emitted:
            self._states_emitted = True
            mean = self.states.mean(min(self.pooling_start, length - 1), length)
            self.sink.emit(HiddenStates(self.request.id, mean, self.states.row(length - 1), self.request.state_layers))

    def allowed_draft(self, tokens: list[int]) -> list[int]:
        """Return as many of ``tokens`` as may follow; none for a sequence that does not generate."""
        del tokens
        return []

    @abstractmethod
    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Process the logits at the batch indices ``outputs``; return the sequences that must run because of them."""

    def report_progress(self, ahead: int | None = None) -> None:
        """Emit the progress of a request that asked for it: at once when the phase changes, else a few times a second.

        ``ahead``: it waits behind that many requests; None: it runs.
        """
        if not self.request.progress or self.ended:
            return
        if ahead is not None:
            progress = RequestProgress(self.request.id, Phase.QUEUED, 0, self.prompt_length, ahead)
        elif self.num_generated_tokens:
            progress = RequestProgress(self.request.id, Phase.WRITING, self.num_generated_tokens)
        else:
            progress = RequestProgress(self.request.id, Phase.READING, self.num_computed_tokens, self.prompt_length)
        last, now = self._last_report, time.monotonic()
        due = last is None or last.phase is not progress.phase or now >= self._next_report_at
        if progress != last and (due or progress.done == progress.total):
            self._last_report, self._next_report_at = progress, now + REPORT_INTERVAL_S
            self.sink.emit(progress)

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        """Emit the last event, once."""
        if self.ended:
            return
        self.ended = True
        now = time.monotonic()
        rate = None
        if self.num_generated_tokens > 1 and self.first_token_at is not None and self.last_token_at is not None:
            rate = (self.num_generated_tokens - 1) / max(self.last_token_at - self.first_token_at, 1e-9)
        first = None if self.first_token_at is None else self.first_token_at - self.submitted_at
        usage = Usage(
            self.prompt_length,
            self.num_cached_tokens,
            self.num_generated_tokens,
            self.num_draft_tokens,
            self.num_accepted_draft_tokens,
        )
        timings = Timings(first, now - self.submitted_at, rate)
        self.release()
        self.sink.emit(Finished(self.request.id, reason, usage, timings, error, limit, **self.describe_end()))

    def describe_end(self) -> dict[str, Any]:
        """Return further fields of ``Finished``."""
        return {}

    def reset(self) -> None:
        """Start again from the first token, since its state in memory was lost. The answer so far stays."""
        self.num_computed_tokens = 0
        self.slot = None
        if self.states is not None:
            self.states = TokenStates()

    def release(self) -> None:  # noqa: B027 (optional to override: few hold anything)
        """Free what the sequence owns outside the context."""
