"""Ranks passages by whether the model says that they answer a question."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.frozen_dataclass import replace
from llmcli.prompts import Prompt
from llmcli.store.passage_index import fuse_rankings
from llmcli.tasks.execution.response_buffer import ResponseBuffer, UsageTally, raise_request_error
from llmcli.tasks.execution.task_requests import GenerationOptions, count_common_chars, make_request
from llmcli.tasks.retrieval.passage_pool import FoundPassage
from llmcli.types import Finished, Priority, Progress, Request

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


def score_passages(
    backend: Backend,
    prompt: Prompt,
    question: str,
    passages: Sequence[FoundPassage],
    *,
    options: GenerationOptions,
    tally: UsageTally,
) -> Generator[Progress, None, list[float]]:
    """Yield progress; return log P(yes) - log P(no) of each passage, all in one batch. Raises the failure of a request."""
    answers = {str(number): ResponseBuffer() for number in range(len(passages))}
    done = 0
    with backend.open() as job:
        for request in relevance_requests(prompt, question, passages, options):
            job.submit(request)
        job.close_input()
        for event in job:
            answers[event.id].add_event(event)
            if isinstance(event, Finished):
                raise_request_error(event)
                tally.add(event)
                done += 1
                yield Progress(done, len(passages), "passages", "ranking")
    return [_margin(answer) for answer in answers.values()]


def fuse_margins(margins: Sequence[float]) -> list[int]:
    """Return the positions of passages in their new order, from the margins in the order of the given ranking.

    Both rankings are joined by reciprocal rank fusion, with the given best one kept first: the judgement of a small model
    alone is too unreliable.
    """
    by_answer = sorted(range(len(margins)), key=lambda number: -margins[number])
    return list(dict.fromkeys([0, *fuse_rankings([range(len(margins)), by_answer])]))


def _margin(answer: ResponseBuffer) -> float:
    yes, no = (each.logprob for each in answer.scores)
    return yes - no
