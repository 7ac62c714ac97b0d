"""Ranks passages by whether the model says that they answer a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.frozen_dataclass import replace
from llmcli.prompts import Prompt
from llmcli.store.passage_index import fuse_rankings
from llmcli.tasks.retrieval.passage_pool import FoundPassage
from llmcli.tasks.runner.task_requests import GenerationOptions, count_common_chars, make_request
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Priority, Progress, Request

PROMPT = "ask.relevance"
ANSWERS = ("yes", "no")


def relevance_requests(
    prompt: Prompt, question: str, passages: Sequence[FoundPassage], options: GenerationOptions
) -> Iterator[Request]:
    """Yield a request for each passage; its id is the position."""
    for request in passage_requests(prompt, question, passages, options):
        yield replace(request, candidates=ANSWERS)


def passage_requests(
    prompt: Prompt, question: str, passages: Sequence[FoundPassage], options: GenerationOptions, prefix: str = ""
) -> Iterator[Request]:
    """Yield a request about each passage, whose evaluation later ones can begin with; its id ends with the position."""
    for number, each in enumerate(passages):
        messages = prompt.render({"question": question, "text": each.passage.text})
        unasked = prompt.render({"question": "", "text": each.passage.text})
        yield make_request(
            f"{prefix}{number}",
            messages,
            prompt,
            options,
            max_tokens=options.max_tokens,
            priority=Priority.INTERACTIVE,
            document_chars=count_common_chars(messages, unasked),
        )


async def score_passages(
    run: TaskRun, prompt: Prompt, question: str, passages: Sequence[FoundPassage], options: GenerationOptions
) -> list[float]:
    """Return log P(yes) - log P(no) of each passage; reports progress. Raises the failure of a request."""
    margins: list[float] = []
    async for answer in run.each(relevance_requests(prompt, question, passages, options), run.ask):
        yes, no = (each.logprob for each in answer.scores)
        margins.append(yes - no)
        run.report(Progress(len(margins), len(passages), "passages", "ranking"))
    return margins


def fuse_margins(margins: Sequence[float]) -> list[int]:
    """Return the positions of passages in their new order, from the margins in the order of the given ranking.

    Both rankings are joined by reciprocal rank fusion, with the given best one kept first: the judgement of a small model
    alone is too unreliable.
    """
    by_answer = sorted(range(len(margins)), key=lambda number: -margins[number])
    return list(dict.fromkeys([0, *fuse_rankings([range(len(margins)), by_answer])]))
