"""A request that generates text: tokens are sampled, and become pieces of its answer.

``PromptLookupDrafter`` takes draft tokens from earlier text. Text repeats itself: names, quotations of the prompt,
code, lists, tables. If the last tokens occurred before, the tokens that followed them then are the draft. A step
evaluates the draft together with the last token, and accepts as much of it as the model chooses itself: several tokens
for little more than the cost of one. Each token is sampled from the model's own logits as usual, so the output is the
same as without drafts. The method: A. Saxena, "Prompt Lookup Decoding" (2023); llama.cpp's example ``lookup`` does the
same.
"""

from __future__ import annotations

import math
import time
from typing import Any

from llmcli.engine.sampling.sampler import Sampler, token_logprobs, top_logprobs
from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.engine.text.detokenizer import OutputProcessor
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import LogitOverflow
from llmcli.errors.model_errors import BadGrammar
from llmcli.types import CHARS_LIMIT, REPETITION_LIMIT, FinishReason, ReasoningDelta, Request, TextDelta, TokenLogprobs


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
        self._num_reasoning_tokens = self._num_answer_chars = 0
        self._drafter = PromptLookupDrafter()

    @property
    def tokens_left(self) -> int:  # type: ignore[override]  # a property in the place of a variable
        return self._max_tokens - self.num_generated_tokens

    def propose_draft(self, cost: float) -> None:
        self.draft_tokens = self.allowed_draft(self._drafter.draft(self.tokens, self.tokens_left - 1, cost))

    def allowed_draft(self, tokens: list[int]) -> list[int]:
        return self._sampler.allowed_prefix(tokens)

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Sample a token at each output, as long as the following draft token is the one sampled."""
        drafts = self.draft_tokens[: len(outputs) - 1]
        self.num_draft_tokens += len(drafts) * self.counts_drafts
        for output, drafted in zip(outputs, [*drafts, None], strict=True):
            if self._sample_token(context, output, drafted) != drafted or self.ended:
                break
        return []

    def _sample_token(self, context: Any, output: int, drafted: int | None) -> int:
        """Sample one token of the answer from the logits at a batch index; returns it, or -1 where it ended before."""
        try:
            token = self._sampler.sample(context, output)
        except (BadGrammar, LogitOverflow) as error:  # of this sequence: others go on
            self.finish(FinishReason.ERROR, error)
            return -1
        self.last_token_at = time.monotonic()
        if self.first_token_at is None:
            self.first_token_at = self.last_token_at
        self.num_generated_tokens += 1
        self.num_accepted_draft_tokens += self.counts_drafts and token == drafted
        if self._tokenizer.is_eog(token) and not self.request.ignore_eos:
            self._finish_output(FinishReason.STOP)
            return token
        self.tokens.append(token)
        self.first_logit = len(self.tokens) - 1
        if self.request.logprobs is not None:
            self._emit_logprobs(context, output, token, self.request.logprobs)
        self._emit_text(*self._output_processor.feed(self._tokenizer.token_to_piece(token)))
        stopped = self._output_processor.stop_string is not None
        if stopped or (self._sampler.is_complete and not self.request.ignore_eos):
            self._finish_output(FinishReason.STOP)
        elif self._output_processor.repeats:
            self._finish_output(FinishReason.LENGTH, REPETITION_LIMIT)
        elif self.request.max_chars is not None and self._num_answer_chars > self.request.max_chars:
            self._finish_output(FinishReason.LENGTH, CHARS_LIMIT)
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
            self._num_reasoning_tokens = self.num_generated_tokens
            self.sink.emit(ReasoningDelta(self.request.id, reasoning))
        if answer:
            self._num_answer_chars += len(answer)
            self.sink.emit(TextDelta(self.request.id, answer))

    def _finish_output(self, reason: FinishReason, limit: str | None = None) -> None:
        self._emit_text(*self._output_processor.flush())
        self.finish(reason, limit=limit)

    def finish(self, reason: FinishReason, error: Exception | None = None, limit: str | None = None) -> None:
        if not self.ended and reason is not FinishReason.STOP:
            self._emit_text(*self._output_processor.flush())  # text that was held back belongs to the answer
        super().finish(reason, error, limit)

    def describe_end(self) -> dict[str, Any]:
        return {
            "stop_string": self._output_processor.stop_string,
            "reasoning_tokens": self._num_reasoning_tokens,
        }

    def release(self) -> None:
        self._sampler.close()


_NGRAM_TOKENS = 3
"""Number of tokens that must have occurred before, in this order."""
MIN_DRAFT_TOKENS, MAX_DRAFT_TOKENS = 3, 15
"""Fewest tokens of a draft: shorter ones hardly pay, since the first additional row of a batch costs most."""
_ACCEPTANCE_SMOOTHING = 0.2
"""Weight of the last token in the acceptance rate."""
_INITIAL_ACCEPTANCE_RATE = 0.5
"""The rate before the first draft: some drafts must prove right before one is evaluated."""


class PromptLookupDrafter:
    """Drafts for one sequence, proposed only while they prove right; others are only compared with each token."""

    def __init__(self) -> None:
        self._continuations: dict[tuple[int, ...], int] = {}  # the position after the last occurrence of a key
        self._num_indexed_tokens = _NGRAM_TOKENS  # positions below this are indexed
        self._last_draft: list[int] = []
        self._draft_start = 0  # the position at which the draft begins
        self._acceptance_rate = _INITIAL_ACCEPTANCE_RATE

    def draft(self, tokens: list[int], max_tokens: int, cost: float) -> list[int]:
        """Return the tokens that may follow ``tokens``, at most ``max_tokens``, none if not worth their ``cost``.

        ``tokens`` are those of the last call and those generated since. ``cost``: as ``draft_row_cost`` returns it.
        """
        self._update_acceptance_rate(tokens)
        for position in range(self._num_indexed_tokens, len(tokens)):
            self._continuations[tuple(tokens[position - _NGRAM_TOKENS : position])] = position
        self._num_indexed_tokens = max(self._num_indexed_tokens, len(tokens))
        start = self._continuations.get(tuple(tokens[-_NGRAM_TOKENS:]))
        self._draft_start = len(tokens)
        following = [] if start is None else tokens[start : start + MAX_DRAFT_TOKENS]
        # a draft that reaches the end of the text repeats it
        self._last_draft = (following * MAX_DRAFT_TOKENS)[:MAX_DRAFT_TOKENS]
        count = min(max_tokens, self._worthwhile_length(cost), len(self._last_draft))
        return self._last_draft[:count] if count >= MIN_DRAFT_TOKENS else []

    def _update_acceptance_rate(self, tokens: list[int]) -> None:
        for drafted, chosen in zip(self._last_draft, tokens[self._draft_start :], strict=False):
            self._acceptance_rate += _ACCEPTANCE_SMOOTHING * ((drafted == chosen) - self._acceptance_rate)
            if drafted != chosen:
                break

    def _worthwhile_length(self, cost: float) -> int:
        """Return how many tokens in a row are likely enough to be worth their cost."""
        return MAX_DRAFT_TOKENS if self._acceptance_rate >= 1 else int(math.log(cost) / math.log(self._acceptance_rate))
