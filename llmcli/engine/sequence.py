"""One object a sequence, with all of its state: what is to be evaluated, what came out, where events go."""

from __future__ import annotations

import time
from typing import Any, Protocol

from llmcli.engine.drafts import Drafts
from llmcli.engine.output import AnswerStream
from llmcli.engine.sampling import Sampler
from llmcli.engine.scoring import likeliest, log_probability
from llmcli.engine.tokens import Tokenizer
from llmcli.errors import UsageError
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    Phase,
    Priority,
    ReasoningPiece,
    Request,
    RequestProgress,
    Score,
    Scores,
    TextPiece,
    Timings,
    TokenLogprobs,
    Usage,
)

REPORT_INTERVAL_S = 0.25
"""Seconds between two reports of one request on its progress."""


class Sink(Protocol):
    """Where the events of a request go.

    ``full``: the consumer is behind, the sequence has to wait. ``gone``: the consumer has left, the request must not begin.
    """

    @property
    def full(self) -> bool: ...

    @property
    def gone(self) -> bool: ...

    def emit(self, event: Event) -> None: ...


class Sequence:
    """Tokens that a model evaluates. ``done`` of ``tokens`` are in the memory of sequence id ``slot``.

    ``outputs_from``: the position from which logits are wanted. ``freeze_at``: a length at which the state is copied
    for others (memories that cannot be cut). ``public_length``: tokens from the beginning that may be kept on disk;
    ``save_at``: a length at which they are. ``turn_length``: tokens from the beginning with which the next turn of a saved
    conversation will begin, 0 where its answer may be counted in (memories that can be cut). ``draft``: tokens that are
    guessed to follow. ``spent``: seconds of evaluation, its share of each batch. ``lost_step``: its last evaluation was
    aborted.
    """

    longest = 0
    """Tokens that may still be generated."""
    branches = 0
    """Sequences that will begin where this one ends."""

    def __init__(self, request: Request, tokens: list[int], sink: Sink) -> None:
        self.request = request
        self.tokens = tokens
        self.prompt_length = len(tokens)
        self.outputs_from = len(tokens) - 1
        self.sink = sink
        self.slot: int | None = None
        self.done = 0
        self.reused = 0
        self.freeze_at: int | None = None
        self.public_length = 0
        self.save_at: int | None = None
        self.turn_length = 0
        self.draft: list[int] = []
        self.spent = 0.0
        self.lost_step = False
        self.ended = False
        self.cancelled = False
        self.submitted = time.monotonic()
        self.first_token: float | None = None
        self.last_token: float | None = None
        self.generated = 0
        self._reported: RequestProgress | None = None
        self._report_due = 0.0

    @property
    def interactive(self) -> bool:
        """It goes before bulk work."""
        return self.request.priority is Priority.INTERACTIVE

    @property
    def pending(self) -> int:
        """Tokens that are not evaluated yet."""
        return len(self.tokens) - self.done

    @property
    def decoding(self) -> bool:
        """The prompt is evaluated, one token a step follows."""
        return self.generated > 0 and self.pending == 1

    @property
    def unreported(self) -> bool:
        """It asked for reports on its progress and has had none."""
        return self.request.progress and self._reported is None

    def guess(self, cost: float) -> None:
        """Set ``draft``. ``cost``: of evaluating one guess, as ``guesses.price`` returns it."""

    def consume(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Take the logits at the batch indices ``outputs``; returns sequences that must run because of them."""
        raise NotImplementedError

    def report(self, ahead: int | None = None) -> None:
        """Emit how far the request is, if it asked for that: at a change of phase at once, else a few times a second.

        ``ahead``: it waits, and so many requests go before it; None: it runs.
        """
        if not self.request.progress or self.ended:
            return
        if ahead is not None:
            progress = RequestProgress(self.request.id, Phase.QUEUED, 0, self.prompt_length, ahead)
        elif self.generated:
            progress = RequestProgress(self.request.id, Phase.WRITING, self.generated)
        else:
            progress = RequestProgress(self.request.id, Phase.READING, self.done, self.prompt_length)
        last, now = self._reported, time.monotonic()
        due = last is None or last.phase is not progress.phase or now >= self._report_due
        if progress != last and (due or progress.done == progress.total):
            self._reported, self._report_due = progress, now + REPORT_INTERVAL_S
            self.sink.emit(progress)

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        """Emit the last event, once."""
        if self.ended:
            return
        self.ended = True
        now = time.monotonic()
        rate = None
        if self.generated > 1 and self.first_token is not None and self.last_token is not None:
            rate = (self.generated - 1) / max(self.last_token - self.first_token, 1e-9)
        first = None if self.first_token is None else self.first_token - self.submitted
        usage = Usage(self.prompt_length, self.reused, self.generated)
        timings = Timings(first, now - self.submitted, rate)
        self.release()
        self.sink.emit(Finished(self.request.id, reason, usage, timings, error, limit))

    def restart(self) -> None:
        """Begin again from the first token: what the memory held of it was lost. The answer so far stays."""
        self.done = 0
        self.slot = None

    def release(self) -> None:
        """Free what the sequence holds outside the context."""


class Generation(Sequence):
    """A request that generates text."""

    def __init__(
        self,
        request: Request,
        tokens: list[int],
        sink: Sink,
        *,
        sampler: Sampler,
        stream: AnswerStream,
        tokenizer: Tokenizer,
        context_limit: int,
    ) -> None:
        super().__init__(request, tokens, sink)
        self._sampler = sampler
        self._stream = stream
        self._tokenizer = tokenizer
        room = context_limit - len(tokens)
        wanted = request.max_tokens
        self._limit = "max_tokens" if wanted is not None and wanted <= room else "context"
        self._most = room if wanted is None else min(wanted, room)
        self._drafts = Drafts()

    @property
    def longest(self) -> int:  # type: ignore[override]
        return self._most - self.generated

    def guess(self, cost: float) -> None:
        self.draft = self._drafts.propose(self.tokens, self.longest - 1, cost)

    def consume(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Draw a token at each output, as long as the guess behind it is what was drawn."""
        for output, guess in zip(outputs, [*self.draft[: len(outputs) - 1], None], strict=True):
            if self._draw(context, output) != guess or self.ended:
                break
        return []

    def _draw(self, context: Any, output: int) -> int:
        """Take one token of the answer from the logits at a batch index; returns it."""
        token = self._sampler.sample(context, output)
        self.last_token = time.monotonic()
        if self.first_token is None:
            self.first_token = self.last_token
        self.generated += 1
        if self._tokenizer.is_eog(token) and not self.request.ignore_eos:
            self._end(FinishReason.STOP)
            return token
        self.tokens.append(token)
        self.outputs_from = len(self.tokens) - 1
        if self.request.logprobs is not None:
            self._tell_logprobs(context, output, token, self.request.logprobs)
        self._emit(*self._stream.feed(self._tokenizer.piece(token)))
        if self._stream.stopped:
            self._end(FinishReason.STOP)
        elif self.generated >= self._most:
            self._end(FinishReason.LENGTH, self._limit)
        return token

    def _tell_logprobs(self, context: Any, index: int, token: int, count: int) -> None:
        piece = self._tokenizer.piece
        top = tuple((piece(other), logprob) for other, logprob in likeliest(context, index, count))
        (logprob,) = log_probability(context, index, [token])
        self.sink.emit(TokenLogprobs(self.request.id, piece(token), logprob, top))

    def _emit(self, reasoning: str, answer: str) -> None:
        if reasoning:
            self.sink.emit(ReasoningPiece(self.request.id, reasoning))
        if answer:
            self.sink.emit(TextPiece(self.request.id, answer))

    def _end(self, reason: FinishReason, limit: str | None = None) -> None:
        self._emit(*self._stream.flush())
        self.finish(reason, limit=limit)

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        if not self.ended and reason is not FinishReason.STOP:
            self._emit(*self._stream.flush())  # what was held back belongs to the answer
        super().finish(reason, error, limit)

    def release(self) -> None:
        self._sampler.close()


class Scoring(Sequence):
    """A request that scores candidates: evaluates what they share, then a ``Branch`` for each longer one."""

    def __init__(self, request: Request, prompt: list[int], candidates: list[list[int]], sink: Sink) -> None:
        """``prompt``: its tokens alone; ``candidates``: for each the tokens of prompt and candidate together.

        The scored tokens begin where a candidate first differs from the prompt, at the same place for all. Raises
        ``UsageError`` when that is the very first token, which nothing precedes that could predict it.
        """
        shared = common_prefix_of(candidates)
        start = min(shared, *(common_prefix(prompt, tokens) for tokens in candidates))
        if start < 1:
            raise UsageError("the prompt is empty")
        super().__init__(request, candidates[0][:shared], sink)
        self.outputs_from = start - 1
        self._common = candidates[0][start:shared]
        self._endings = [tokens[shared:] for tokens in candidates]
        self.branches = sum(len(ending) > 1 for ending in self._endings)
        self._sum = 0.0
        self._taken = 0
        self._logprobs: list[float] = []
        self._open = 0

    def consume(self, context: Any, outputs: list[int]) -> list[Sequence]:
        ahead = self._common[self._taken : self._taken + len(outputs)]
        for output, token in zip(outputs, ahead, strict=False):
            self._sum += log_probability(context, output, [token])[0]
        self._taken += len(ahead)
        if len(ahead) == len(outputs):
            return []
        first = log_probability(context, outputs[-1], [ending[0] for ending in self._endings])
        self._logprobs = [self._sum + logprob for logprob in first]
        self.first_token = time.monotonic()
        branches: list[Sequence] = [
            Branch(self, index, self.tokens + ending[:-1], ending)
            for index, ending in enumerate(self._endings)
            if len(ending) > 1
        ]
        self._open = len(branches)
        if not branches:
            self._deliver()
        return branches

    def add(self, index: int, logprob: float) -> None:
        """Take the rest of a candidate's log-probability from its branch."""
        self._logprobs[index] += logprob
        self._open -= 1
        if self._open == 0:
            self._deliver()

    def restart(self) -> None:
        super().restart()
        self._sum, self._taken = 0.0, 0

    def _deliver(self) -> None:
        scores = tuple(
            Score(candidate, logprob, len(self._common) + len(ending))
            for candidate, logprob, ending in zip(self.request.candidates, self._logprobs, self._endings, strict=True)
        )
        self.sink.emit(Scores(self.request.id, scores))
        self.finish(FinishReason.STOP)


class Branch(Sequence):
    """The rest of one candidate behind the shared tokens of a ``Scoring``."""

    def __init__(self, parent: Scoring, index: int, tokens: list[int], ending: list[int]) -> None:
        super().__init__(parent.request, tokens, parent.sink)
        self.parent = parent
        self._index = index
        self._targets = ending[1:]
        self.outputs_from = len(tokens) - len(self._targets)
        self._sum = 0.0
        self._taken = 0

    def consume(self, context: Any, outputs: list[int]) -> list[Sequence]:
        for output in outputs:  # a long candidate may come in several pieces
            self._sum += log_probability(context, output, [self._targets[self._taken]])[0]
            self._taken += 1
        if self._taken == len(self._targets):
            self.ended = True
            if not self.parent.ended:
                self.parent.add(self._index, self._sum)
        return []

    def report(self, ahead: int | None = None) -> None:
        """Nothing: its parent stands for the request."""

    def restart(self) -> None:
        super().restart()
        self._sum, self._taken = 0.0, 0

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        self.ended = True
        self.parent.finish(reason, error, limit)


def common_prefix(a: list[int], b: list[int]) -> int:
    """Return how many tokens two lists share at their beginning (slices are compared in C)."""
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


def common_prefix_of(lists: list[list[int]]) -> int:
    """Return how many tokens all lists share, leaving each at least one of its own."""
    shared = min(common_prefix(lists[0], other) for other in lists)
    return min(shared, *(len(tokens) - 1 for tokens in lists))
