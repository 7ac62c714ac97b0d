"""The work of a summary, without running the model: its parts and calls, and the tokens of these."""

from __future__ import annotations

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedText
from llmcli.errors import EmptyInput
from llmcli.prompts import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.work_estimate import WorkEstimate, count_requests
from llmcli.tasks.summarize.key_sentences import sentence_requests
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, WRITTEN_METHOD, SummaryOptions
from llmcli.tasks.summarize.summary_plan import SummaryPlan
from llmcli.tasks.summarize.written_summary import MAX_STALLS

_ANSWER_SHARE = 0.5
"""Of the longest answer: about how long it is."""
_MAX_STAGES = 30


def estimate_summary(
    backend: Backend,
    prompts: PromptLibrary,
    document: Document | StreamedText,
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    earlier: str,
) -> WorkEstimate:
    """Return the work of summarizing a document; the backend only counts tokens.

    The parts and their tokens are those of the summary itself. How long the summaries of parts become is estimated, and
    so is the work of merging them. Raises ``EmptyInput`` and ``ContextOverflow``.
    """
    if isinstance(document, Document) and not document.text.strip():
        raise EmptyInput(document.name)
    style = wanted.style_for(backend.info())
    if style == KEY_SENTENCES:
        calls, tokens = count_requests(backend, sentence_requests(document, backend.info().context, options))
        return WorkEstimate(document.name, KEY_SENTENCES, calls, calls, tokens)
    plan = SummaryPlan(backend, prompts, options, wanted, style, None, earlier)
    return _estimate_stages(plan, document if isinstance(document, Document) else document.read_whole())


def _estimate_stages(plan: SummaryPlan, document: Document) -> WorkEstimate:
    limit, of_part = plan.final_limit(0), plan.part_limit(0, 0)
    fits = plan.budget(0, limit, is_last=True, subject=document.name).fits(document.text)
    texts = [document.text] if fits else list(plan.split(0, document.text, 0, subject=document.name))
    passages = len(texts)
    if fits or (passages == 1 and not plan.earlier):
        _, tokens = count_requests(plan.backend, [plan.request("count", 0, document.text, limit, is_last=True)])
        return WorkEstimate(document.name, WRITTEN_METHOD, 1, 1, tokens, round(_ANSWER_SHARE * limit))
    requests = (
        plan.request("count", 0, text, of_part, part=part, parts=passages) for part, text in enumerate(texts, 1)
    )
    calls, prompts = count_requests(plan.backend, requests)
    text = answers = round(_ANSWER_SHARE * of_part * calls)  # the text of the next stage
    final = plan.budget(1, plan.final_limit(1), is_last=True, subject=document.name)
    _, instructions = count_requests(plan.backend, [plan.request("count", 1, "", of_part)])
    for stage in range(1, _MAX_STAGES):
        of_part = plan.part_limit(1, min(stage - 1, MAX_STALLS))
        free = plan.budget(1, of_part, is_last=False, subject=document.name).free_tokens - of_part
        room = max(1, min(free, plan.part_tokens(1)))
        count = 1 if final.fits_tokens(text) else max(2, -(-text // room))
        limit = plan.final_limit(1) if count == 1 else of_part
        calls, prompts = calls + count, prompts + text + count * instructions
        text = round(_ANSWER_SHARE * limit * count)
        answers += text
        if count == 1:
            break
    return WorkEstimate(document.name, WRITTEN_METHOD, passages, calls, prompts, answers)
