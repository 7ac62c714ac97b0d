"""One object for each sequence, with all of its state: what is to be evaluated, the output, where events go."""

from __future__ import annotations

import time
from typing import Any, Protocol

from llmcli.engine.sampling.logprobs import token_logprobs, top_logprobs
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sequences.speculative import PromptLookupDrafter
from llmcli.engine.text.detokenizer import OutputProcessor
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import UsageError
from llmcli.types import (
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    Phase,
    Priority,
    ReasoningDelta,
    Request,
    RequestProgress,
    Score,
    TextDelta,
    Timings,
    TokenLogprobs,
    Usage,
)

REPORT_INTERVAL_S = 0.25
"""Seconds between two progress reports of a request."""


class EventSink(Protocol):
    """Where the events of a request go.

    ``full``: the consumer is behind, the sequence must wait. ``consumer_gone``: the consumer has left, the request must not
    start.
    """

    @property
    def full(self) -> bool: ...

    @property
    def consumer_gone(self) -> bool: ...

    def emit(self, event: Event) -> None: ...


class Sequence:
    """Tokens that a model evaluates. ``num_computed_tokens`` of ``tokens`` are in the memory of sequence id ``slot``.

    ``arrival``: its number in the order of arrival. ``first_logit``: the position from which logits are needed. ``checkpoint_at``: a length at which the state is copied
    for others (memories that cannot be truncated). ``public_prefix_length``: tokens from the start that may be kept on
    disk; ``save_at``: a length at which they are saved. ``turn_prefix_length``: tokens from the start that the next turn
    of a saved conversation will begin with, 0 where its answer counts too (memories that can be truncated).
    ``draft_tokens``: tokens expected to follow. ``compute_s``: seconds of evaluation, its share of each batch.
    ``lost_last_step``: its last evaluation was aborted.
    """

    tokens_left = 0
    """Tokens that may still be generated."""
    num_forks = 0
    """Sequences that will continue where this one ends."""

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
        self.checkpoint_at: int | None = None
        self.public_prefix_length = 0
        self.save_at: int | None = None
        self.turn_prefix_length = 0
        self.draft_tokens: list[int] = []
        self.compute_s = 0.0
        self.lost_last_step = False
        self.ended = False
        self.cancelled = False
        self.submitted_at = time.monotonic()
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self.num_generated_tokens = 0
        self._last_report: RequestProgress | None = None
        self._next_report_at = 0.0

    @property
    def is_interactive(self) -> bool:
        """It runs before bulk work."""
        return self.request.priority is Priority.INTERACTIVE

    @property
    def num_pending_tokens(self) -> int:
        """Tokens that are not evaluated yet."""
        return len(self.tokens) - self.num_computed_tokens

    @property
    def is_decoding(self) -> bool:
        """The prompt is evaluated, one token a step follows."""
        return self.num_generated_tokens > 0 and self.num_pending_tokens == 1

    @property
    def is_unreported(self) -> bool:
        """It asked for progress reports and has had none."""
        return self.request.progress and self._last_report is None

    def propose_draft(self, cost: float) -> None:
        """Set ``draft_tokens``. ``cost``: of evaluating one of them, as ``draft_row_cost`` returns it."""

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Process the logits at the batch indices ``outputs``; returns sequences that must run because of them."""
        raise NotImplementedError

    def report_progress(self, ahead: int | None = None) -> None:
        """Emit the progress of a request that asked for it: at a change of phase at once, else a few times a second.

        ``ahead``: it waits behind so many requests; None: it runs.
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
        usage = Usage(self.prompt_length, self.num_cached_tokens, self.num_generated_tokens)
        timings = Timings(first, now - self.submitted_at, rate)
        self.release()
        self.sink.emit(Finished(self.request.id, reason, usage, timings, error, limit))

    def reset(self) -> None:
        """Start again from the first token, since its state in memory was lost. The answer so far stays."""
        self.num_computed_tokens = 0
        self.slot = None

    def release(self) -> None:
        """Free what the sequence holds outside the context."""


class GenerationSequence(Sequence):
    """A request that generates text."""

    def __init__(
        self,
        request: Request,
        tokens: list[int],
        sink: EventSink,
        *,
        sampler: Sampler,
        stream: OutputProcessor,
        tokenizer: Tokenizer,
        context_limit: int,
    ) -> None:
        super().__init__(request, tokens, sink)
        self._sampler = sampler
        self._output_processor = stream
        self._tokenizer = tokenizer
        available, requested = context_limit - len(tokens), request.max_tokens
        self._limit_name = "max_tokens" if requested is not None and requested <= available else "context"
        self._max_tokens = available if requested is None else min(requested, available)
        self._drafter = PromptLookupDrafter()

    @property
    def tokens_left(self) -> int:  # type: ignore[override]
        return self._max_tokens - self.num_generated_tokens

    def propose_draft(self, cost: float) -> None:
        self.draft_tokens = self._drafter.draft(self.tokens, self.tokens_left - 1, cost)

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Sample a token at each output, as long as the draft token after it is the one sampled."""
        for output, drafted in zip(outputs, [*self.draft_tokens[: len(outputs) - 1], None], strict=True):
            if self._sample_token(context, output) != drafted or self.ended:
                break
        return []

    def _sample_token(self, context: Any, output: int) -> int:
        """Sample one token of the answer from the logits at a batch index; returns it."""
        token = self._sampler.sample(context, output)
        self.last_token_at = time.monotonic()
        if self.first_token_at is None:
            self.first_token_at = self.last_token_at
        self.num_generated_tokens += 1
        if self._tokenizer.is_eog(token) and not self.request.ignore_eos:
            self._finish_output(FinishReason.STOP)
            return token
        self.tokens.append(token)
        self.first_logit = len(self.tokens) - 1
        if self.request.logprobs is not None:
            self._emit_logprobs(context, output, token, self.request.logprobs)
        self._emit_text(*self._output_processor.feed(self._tokenizer.token_to_piece(token)))
        if self._output_processor.stopped:
            self._finish_output(FinishReason.STOP)
        elif self.num_generated_tokens >= self._max_tokens:
            self._finish_output(FinishReason.LENGTH, self._limit_name)
        return token

    def _emit_logprobs(self, context: Any, index: int, token: int, count: int) -> None:
        piece = self._tokenizer.token_to_piece
        top = tuple((piece(other), logprob) for other, logprob in top_logprobs(context, index, count))
        (logprob,) = token_logprobs(context, index, [token])
        self.sink.emit(TokenLogprobs(self.request.id, piece(token), logprob, top))

    def _emit_text(self, reasoning: str, answer: str) -> None:
        if reasoning:
            self.sink.emit(ReasoningDelta(self.request.id, reasoning))
        if answer:
            self.sink.emit(TextDelta(self.request.id, answer))

    def _finish_output(self, reason: FinishReason, limit: str | None = None) -> None:
        self._emit_text(*self._output_processor.flush())
        self.finish(reason, limit=limit)

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        if not self.ended and reason is not FinishReason.STOP:
            self._emit_text(*self._output_processor.flush())  # text that was held back belongs to the answer
        super().finish(reason, error, limit)

    def release(self) -> None:
        self._sampler.close()


class ScoringSequence(Sequence):
    """A request that scores candidates: evaluates what they share, then a ``CandidateFork`` for each longer one."""

    def __init__(self, request: Request, prompt: list[int], candidates: list[list[int]], sink: EventSink) -> None:
        """``prompt``: its tokens alone; ``candidates``: for each the tokens of prompt and candidate together.

        The scored tokens begin where a candidate first differs from the prompt, at the same position for all. Raises
        ``UsageError`` when that is the very first token, since no token precedes it that could predict it.
        """
        shared = shared_prefix_length(candidates)
        start = min(shared, *(common_prefix_length(prompt, tokens) for tokens in candidates))
        if start < 1:
            raise UsageError("the prompt is empty")
        super().__init__(request, candidates[0][:shared], sink)
        self.first_logit = start - 1
        self._shared_candidate_tokens = candidates[0][start:shared]
        self._candidate_tails = [tokens[shared:] for tokens in candidates]
        self.num_forks = sum(len(tail) > 1 for tail in self._candidate_tails)
        self._shared_logprob = 0.0
        self._num_scored_tokens = 0
        self._logprobs: list[float] = []
        self._num_open_forks = 0

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        targets = self._shared_candidate_tokens[self._num_scored_tokens : self._num_scored_tokens + len(outputs)]
        for output, token in zip(outputs, targets, strict=False):
            self._shared_logprob += token_logprobs(context, output, [token])[0]
        self._num_scored_tokens += len(targets)
        if len(targets) == len(outputs):
            return []
        first = token_logprobs(context, outputs[-1], [tail[0] for tail in self._candidate_tails])
        self._logprobs = [self._shared_logprob + logprob for logprob in first]
        self.first_token_at = time.monotonic()
        forks: list[Sequence] = [
            CandidateFork(self, index, self.tokens + tail[:-1], tail)
            for index, tail in enumerate(self._candidate_tails)
            if len(tail) > 1
        ]
        self._num_open_forks = len(forks)
        if not forks:
            self._emit_scores()
        return forks

    def add_candidate_logprob(self, index: int, logprob: float) -> None:
        """Add the rest of a candidate's log-probability, which its fork computed."""
        self._logprobs[index] += logprob
        self._num_open_forks -= 1
        if self._num_open_forks == 0:
            self._emit_scores()

    def reset(self) -> None:
        super().reset()
        self._shared_logprob, self._num_scored_tokens = 0.0, 0

    def _emit_scores(self) -> None:
        scores = tuple(
            Score(candidate, logprob, len(self._shared_candidate_tokens) + len(tail))
            for candidate, logprob, tail in zip(
                self.request.candidates, self._logprobs, self._candidate_tails, strict=True
            )
        )
        self.sink.emit(CandidateScores(self.request.id, scores))
        self.finish(FinishReason.STOP)


class CandidateFork(Sequence):
    """The rest of one candidate after the shared tokens of a ``ScoringSequence``."""

    def __init__(self, parent: ScoringSequence, index: int, tokens: list[int], tail: list[int]) -> None:
        super().__init__(parent.request, tokens, parent.sink)
        self.parent = parent
        self.arrival = parent.arrival
        self._candidate_index = index
        self._target_tokens = tail[1:]
        self.first_logit = len(tokens) - len(self._target_tokens)
        self._logprob = 0.0
        self._num_scored_tokens = 0

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        for output in outputs:  # a long candidate may be evaluated in several steps
            self._logprob += token_logprobs(context, output, [self._target_tokens[self._num_scored_tokens]])[0]
            self._num_scored_tokens += 1
        if self._num_scored_tokens == len(self._target_tokens):
            self.ended = True
            if not self.parent.ended:
                self.parent.add_candidate_logprob(self._candidate_index, self._logprob)
        return []

    def report_progress(self, ahead: int | None = None) -> None:
        """Report nothing: its parent represents the request."""

    def reset(self) -> None:
        super().reset()
        self._logprob, self._num_scored_tokens = 0.0, 0

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        self.ended = True
        self.parent.finish(reason, error, limit)


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
    """Return the length of the common prefix of all lists, leaving each at least one token of its own."""
    shared = min(common_prefix_length(lists[0], other) for other in lists)
    return min(shared, *(len(tokens) - 1 for tokens in lists))
