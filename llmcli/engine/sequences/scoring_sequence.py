"""A request that scores candidates: the log-probability of each as a continuation of the prompt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llmcli.engine.sampling.sampler import token_logprobs
from llmcli.engine.sequences.sequence import EventSink, Sequence, common_prefix_length, shared_prefix_length
from llmcli.errors import UsageError
from llmcli.types import CandidateScores, FinishReason, Request, Score


class TargetTokens:
    """Tokens whose log-probabilities are computed as their logits arrive, in one step or several."""

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self.logprobs: list[float] = []
        """Of each token scored so far."""

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def all_scored(self) -> bool:
        """Whether no token is left."""
        return len(self.logprobs) == len(self._tokens)

    def score(self, context: Any, outputs: list[int]) -> int:
        """Score the next tokens with the logits at the batch indices ``outputs``; return how many it scored."""
        scored = len(self.logprobs)
        targets = self._tokens[scored : scored + len(outputs)]
        for output, token in zip(outputs, targets, strict=False):
            self.logprobs += token_logprobs(context, output, [token])
        return len(targets)

    def reset(self) -> None:
        """Start again with the first token."""
        self.logprobs = []


class ScoringSequence(Sequence):
    """A request that scores candidates: evaluates their common tokens, then a ``CandidateFork`` for each longer one."""

    def __init__(
        self,
        request: Request,
        prompt: list[int],
        candidates: list[list[int]],
        sink: EventSink,
        token_to_piece: Callable[[int], bytes] | None = None,
    ) -> None:
        """``prompt``: its tokens alone; ``candidates``: for each the tokens of prompt and candidate together.

        The scored tokens begin where a candidate first differs from the prompt, at the same position for all. Raises
        ``UsageError`` if that is the very first token, since no earlier token could predict it.
        """
        shared = shared_prefix_length(candidates)
        start = min(shared, *(common_prefix_length(prompt, tokens) for tokens in candidates))
        if start < 1:
            raise UsageError("the prompt is empty")
        super().__init__(request, candidates[0][:shared], sink)
        self.first_logit = start - 1
        self.num_pooled_tokens = start if request.hidden_states else 0
        self._shared_tokens = TargetTokens(candidates[0][start:shared])
        self._shared_targets = candidates[0][start:shared]
        self._candidate_tails = [tokens[shared:] for tokens in candidates]
        self._token_to_piece = token_to_piece
        self.num_forks = sum(len(tail) > 1 for tail in self._candidate_tails)
        self._logprobs: list[list[float]] = []
        self._num_open_forks = 0

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        if self._shared_tokens.score(context, outputs) == len(outputs):
            return []
        first = token_logprobs(context, outputs[-1], [tail[0] for tail in self._candidate_tails])
        self._logprobs = [[*self._shared_tokens.logprobs, logprob] for logprob in first]
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

    def add_candidate_logprobs(self, index: int, logprobs: list[float]) -> None:
        """Add the log-probabilities of the rest of a candidate's tokens, which its fork computed."""
        self._logprobs[index] += logprobs
        self._num_open_forks -= 1
        if self._num_open_forks == 0:
            self._emit_scores()

    def reset(self) -> None:
        super().reset()
        self._shared_tokens.reset()

    def _emit_scores(self) -> None:
        scores = tuple(
            Score(candidate, sum(logprobs), len(logprobs), *self._token_details(logprobs, tail))
            for candidate, logprobs, tail in zip(
                self.request.candidates, self._logprobs, self._candidate_tails, strict=True
            )
        )
        self.sink.emit(CandidateScores(self.request.id, scores))
        self.finish(FinishReason.STOP)

    def _token_details(self, logprobs: list[float], tail: list[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        if self.request.logprobs is None or self._token_to_piece is None:
            return (), ()
        sizes = (len(self._token_to_piece(token)) for token in [*self._shared_targets, *tail])
        return tuple(logprobs), tuple(sizes)


class CandidateFork(Sequence):
    """The rest of one candidate after the shared tokens of a ``ScoringSequence``."""

    def __init__(self, parent: ScoringSequence, index: int, tokens: list[int], tail: list[int]) -> None:
        super().__init__(parent.request, tokens, parent.sink)
        self.parent = parent
        self.num_pooled_tokens = 0
        self.arrival = parent.arrival
        self._candidate_index = index
        self._tail = TargetTokens(tail[1:])
        self.first_logit = len(tokens) - len(self._tail)

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        self._tail.score(context, outputs)  # a long candidate may be evaluated in several steps
        if self._tail.all_scored:
            self.ended = True
            if not self.parent.ended:
                self.parent.add_candidate_logprobs(self._candidate_index, self._tail.logprobs)
        return []

    def report_progress(self, ahead: int | None = None) -> None:
        """Report nothing: its parent represents the request."""

    def reset(self) -> None:
        super().reset()
        self._tail.reset()

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        self.ended = True
        self.parent.finish(reason, error, limit)


class HiddenStateSequence(Sequence):
    """Evaluates its prompt and ends; it needs no logits."""

    @property
    def logits_start(self) -> int:
        return len(self.tokens)

    def record_states(self, rows: Any) -> None:
        super().record_states(rows)
        if self.num_pending_tokens == 0:
            self.first_token_at = time.monotonic()
            self.finish(FinishReason.STOP)

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Do nothing: there are no logits."""
        del context, outputs
        return []
