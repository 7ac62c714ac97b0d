"""The work of a summary, without running the model: its parts and calls, and the tokens of these."""

from __future__ import annotations

import math

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedText
from llmcli.documents.records.record import Row
from llmcli.errors import EmptyInput
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.context_budget import MIN_TEXT_TOKENS
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange, count_requests
from llmcli.tasks.summarize.key_sentences import sentence_requests
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, WRITTEN_METHOD, SummaryOptions
from llmcli.tasks.summarize.summary_plan import SummaryPlan
from llmcli.tasks.summarize.written_summary import MAX_SHRINK_SHARE, MAX_STALLS

_ANSWER_SHARE = 0.5
"""Of the longest answer: about how long it is."""
_MAX_STAGES = 30
_MAX_PART_CALLS = 2
"""For the facts of a part: one that is empty or cut is asked for again."""
_MAX_LAST_CALLS = 4
"""For the summary: an empty one is asked for again, and one in the wrong form or length, once more without a grammar."""


def estimate_summary(
    backend: Backend,
    prompts: PromptLibrary,
    document: Document | StreamedText,
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    earlier: str,
    row: Row | None = None,
) -> WorkEstimate:
    """Return the work of summarizing a document; the backend only counts tokens.

    The parts and their tokens are those of the summary itself. How long the summaries of parts become is estimated, and
    so is the work of merging them; the range holds it. Raises ``EmptyInput`` and ``ContextOverflow``.
    """
    if isinstance(document, Document) and not document.text.strip():
        raise EmptyInput(document.name)
    style = wanted.style_for(backend.info())
    if style == KEY_SENTENCES:
        calls, tokens = count_requests(backend, sentence_requests(document, backend.info().context, options))
        return WorkEstimate(document.name, KEY_SENTENCES, calls, calls, tokens)
    plan = SummaryPlan(backend, prompts, options, wanted, style, row, earlier)
    return _estimate_stages(plan, document if isinstance(document, Document) else document.read_whole())


def _estimate_stages(plan: SummaryPlan, document: Document) -> WorkEstimate:
    limit, of_part = plan.final_limit(0), plan.part_limit(0, 0)
    fits = plan.budget(0, limit, is_last=True, subject=document.name).fits(document.text)
    texts = [document.text] if fits else list(plan.split(0, document.text, 0, subject=document.name))
    passages = len(texts)
    if fits or (passages == 1 and not plan.earlier):
        _, tokens = count_requests(plan.backend, [plan.request("count", 0, document.text, limit, is_last=True)])
        most = _MAX_LAST_CALLS
        work = WorkRange(1, most, tokens, tokens + (most - 1) * plan.context)
        answers = round(_ANSWER_SHARE * limit)
        return WorkEstimate(document.name, WRITTEN_METHOD, 1, 1, tokens, answers, decided_by_answers=work)
    requests = (
        plan.request("count", 0, text, of_part, part=part, parts=passages) for part, text in enumerate(texts, 1)
    )
    calls, prompts = count_requests(plan.backend, requests)
    merging = _MergingWork(plan, document.name)
    more_calls, more_prompts, answers = merging.estimate(_ANSWER_SHARE * of_part * calls)
    last_calls, last_prompts = merging.estimate_most(2 * of_part * calls)
    work = WorkRange(
        calls + 1,
        _MAX_PART_CALLS * calls + last_calls,
        prompts + merging.instructions,
        _MAX_PART_CALLS * prompts + last_prompts,
    )
    answers += round(_ANSWER_SHARE * of_part * calls)
    passages_and_calls = passages, calls + more_calls
    return WorkEstimate(
        document.name, WRITTEN_METHOD, *passages_and_calls, prompts + more_prompts, answers, decided_by_answers=work
    )


class _MergingWork:
    """The work of the stages that merge summaries, down to the one that writes the last."""

    def __init__(self, plan: SummaryPlan, name: str) -> None:
        self._plan, self._name = plan, name
        self._last = plan.budget(1, plan.final_limit(1), is_last=True, subject=name)
        empty = (plan.request("count", 1, "", 1, is_last=is_last) for is_last in (False, True))
        self._instructions, self.instructions = (count_requests(plan.backend, [each])[1] for each in empty)
        """Tokens of a request around its text: of one about a part, and of the last."""

    def _part_room(self, limit: int) -> int:
        """Return the tokens of a part whose facts have at most ``limit`` tokens."""
        free = self._plan.budget(1, limit, is_last=False, subject=self._name).free_tokens - limit
        return max(1, min(free, self._plan.part_tokens(1)))

    def estimate(self, text: float) -> tuple[int, int, int]:
        """Return about how many calls, prompt tokens and answer tokens it takes to merge ``text`` tokens."""
        plan, calls, prompts, answers = self._plan, 0, 0.0, 0.0
        for stage in range(1, _MAX_STAGES):
            limit = plan.part_limit(1, min(stage - 1, MAX_STALLS))
            count = 1 if self._last.fits_tokens(round(text)) else max(2, math.ceil(text / self._part_room(limit)))
            calls, prompts = (
                calls + count,
                prompts + text + count * (self._instructions if count > 1 else self.instructions),
            )
            text = _ANSWER_SHARE * (plan.final_limit(1) if count == 1 else limit) * count
            answers += text
            if count == 1:
                break
        return calls, round(prompts), round(answers)

    def estimate_most(self, text: int) -> tuple[int, int]:
        """Return the most calls and prompt tokens that it can take to merge at most ``text`` tokens.

        Each stage makes the text shorter by ``1 - MAX_SHRINK_SHARE``, or it has stalled; a part is at least half full.
        """
        plan, calls, prompts, stalls = self._plan, _MAX_LAST_CALLS, _MAX_LAST_CALLS * self._plan.context, 0
        while text >= MIN_TEXT_TOKENS and stalls <= MAX_STALLS:
            limit = plan.part_limit(1, stalls)
            count = 2 * math.ceil(text / self._part_room(limit)) + 1
            calls += _MAX_PART_CALLS * count
            prompts += _MAX_PART_CALLS * (text + count * self._instructions)
            shorter = min(round(MAX_SHRINK_SHARE * text), 2 * limit * count)
            stalls += shorter >= text
            text = shorter
            if self._last.fits_tokens(text):
                break
        return calls, prompts
