"""Typical jobs of the tasks: what `llm models` computes the memory need of each task with."""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.frozen_dataclass import frozen, replace
from llmcli.models.footprint import DEFAULT_CONCURRENCY, FIRST_ANSWER_TOKENS, MAX_CONCURRENCY, ContextDemand


@frozen
class TaskWorkload:
    """A typical job of a task: tokens of each prompt and of its answer, and of the common prefix.

    ``hidden_states``: it asks for the states of its prompts, and generates nothing. ``part_tokens``: prompt and answer of each
    part of a text that does not fit the context, None for parts that are as long as possible.
    """

    prompt_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    shared_prefix_tokens: int = 0
    hidden_states: bool = False
    part_tokens: tuple[int, int] | None = None

    def split_to_context(self, context: int) -> TaskWorkload:
        """Return the job split into requests that fit ``context`` tokens."""
        pairs: list[tuple[int, int]] = []
        for prompt, answer in zip(self.prompt_tokens, self.answer_tokens, strict=True):
            part = (prompt, answer)
            if self.part_tokens is not None and prompt + answer > context:
                part = self.part_tokens
            kept = min(part[1], context // 2)
            length = min(part[0], context - kept)
            pairs += [(length, kept)] * -(-prompt // length)
        prompts, answers = zip(*pairs, strict=True)
        return replace(
            self,
            prompt_tokens=prompts,
            answer_tokens=answers,
            shared_prefix_tokens=min(self.shared_prefix_tokens, *prompts),
        )

    @property
    def initial_demand(self) -> ContextDemand:
        """The sequences that run at once when the job begins."""
        return self._demand(DEFAULT_CONCURRENCY)

    @property
    def peak_demand(self) -> ContextDemand:
        """The most sequences that run at once: the engine tries twice as many while that many wait."""
        concurrency = DEFAULT_CONCURRENCY
        while any(self.answer_tokens) and 2 * concurrency <= min(MAX_CONCURRENCY, len(self.answer_tokens)):
            concurrency *= 2
        return self._demand(concurrency)

    def _demand(self, concurrency: int) -> ContextDemand:
        needs = tuple(prompt + answer for prompt, answer in zip(self.prompt_tokens, self.answer_tokens, strict=True))
        return ContextDemand(needs[:concurrency], self.shared_prefix_tokens, concurrency=concurrency)


WORKLOADS: Mapping[str, TaskWorkload] = {
    "chat": TaskWorkload((60,), (FIRST_ANSWER_TOKENS,)),
    "code": TaskWorkload((60,), (FIRST_ANSWER_TOKENS,)),
    "translate": TaskWorkload(
        (100, 160, 180, 250) * 10, (100, 180, 220, FIRST_ANSWER_TOKENS) * 10, shared_prefix_tokens=40
    ),
    "summarize": TaskWorkload((18_000,), (FIRST_ANSWER_TOKENS,), part_tokens=(1_150, 256)),
    "key-sentences": TaskWorkload((22,) * 800, (0,) * 800, hidden_states=True),
    "classify": TaskWorkload((270,) * 16, (0,) * 16, shared_prefix_tokens=250),
    "calibrated": TaskWorkload((270,) * 16, (0,) * 16, shared_prefix_tokens=250, hidden_states=True),
}
"""The usual jobs of commands, by task: one answer, many segments of a document, a long text, its sentences, many records, and
many records whose labels come from hidden states (``classify --calibration``, and ``sentiment`` of the starter). The lengths
are those of a question, of the README of this project, and of 400 lines. Of a long text that does not fit the context,
``SummaryPlan`` writes facts of 256 tokens about parts of 1,024 tokens."""
