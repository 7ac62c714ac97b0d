"""A request that generates text: tokens are sampled, and become pieces of its answer."""

from __future__ import annotations

import time
from typing import Any

from llmcli.engine.sampling.logprobs import token_logprobs, top_logprobs
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.engine.sequences.speculative import PromptLookupDrafter
from llmcli.engine.text.detokenizer import OutputProcessor
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import LogitOverflow
from llmcli.grammars import BadGrammar
from llmcli.errors.model_errors import BadGrammar
from llmcli.text_stream.repetition import REPETITION_LIMIT
from llmcli.types import FinishReason, ReasoningDelta, Request, TextDelta, TokenLogprobs


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
        self._num_reasoning_tokens = 0
        self._drafter = PromptLookupDrafter()

    @property
    def tokens_left(self) -> int:  # type: ignore[override]
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
