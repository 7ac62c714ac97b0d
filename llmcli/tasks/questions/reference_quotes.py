"""Quotes of the passages that an answer cites.

The request follows the answer in the same conversation: the passages are evaluated already. The grammar admits only words
that stand in the cited passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmcli.documents.sentences import find_sentences
from llmcli.errors import LlmError
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import check_interrupt
from llmcli.prompts import PromptLibrary
from llmcli.tasks.questions.passage_quotes import place_in_document, quotable_passage
from llmcli.tasks.questions.question_prompts import QUOTE_PROMPT
from llmcli.tasks.questions.references import Reference, cited_numbers
from llmcli.tasks.quotation.quote_generation import QUOTE_TOKENS, generate_quote
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Message, Notice, Priority, Progress, Request, Role

ALONE_PROMPT = "quote"
"""The prompt with the passage, for an answer that leaves no room in the context."""
_CITED = re.compile(r"\s*\[\d{1,4}(?:\s*[,;]\s*\d{1,4})*\]")


async def quote_references(
    run: TaskRun,
    prompts: PromptLibrary,
    options: GenerationOptions,
    asked: Request,
    answer: str,
    references: Sequence[Reference],
) -> list[Reference]:
    """Return the references of an answer, those that are cited with a quote if the model finds one; report progress.

    ``asked`` is the request that was answered. A failed request leaves its reference without a quote: the answer is there
    already.
    """
    options = replace(options, reasoning=False, max_tokens=None, progress=False)
    num_cited, done = sum(each.cited for each in references), 0

    async def add_quote(reference: Reference) -> Reference:
        nonlocal done
        if not reference.cited:
            return reference
        request = _quote_request(run, prompts, options, asked, answer, reference)
        try:
            generated = await generate_quote(run, quotable_passage(reference.passage), request, options)
        except LlmError:
            check_interrupt()
            run.report(Notice(f"no quote for [{reference.number}]: the request failed"))
            return reference
        done += 1
        run.report(Progress(done, num_cited, "quotes"))
        if generated.quote is None:
            return reference
        return replace(reference, quote=place_in_document(generated.quote, reference.passage))

    return await run.gather(map(add_quote, references))


def _quote_request(
    run: TaskRun,
    prompts: PromptLibrary,
    options: GenerationOptions,
    asked: Request,
    answer: str,
    reference: Reference,
) -> Request:
    """Return the request for a quote: in the conversation, or about the passage alone where that leaves no room."""

    def make(name: str, messages: tuple[Message, ...]) -> Request:
        return make_request(
            f"quote.{reference.number}",
            messages,
            prompts.get(name),
            options,
            max_tokens=QUOTE_TOKENS,
            priority=Priority.INTERACTIVE,
            conversation=True,
        )

    statement = find_statement(answer, reference.number)
    values = {"number": reference.number, "statement": statement, "none": True}
    rendered = prompts.get(QUOTE_PROMPT).render(values)
    wanted = (each for each in rendered if each.role is Role.USER)
    request = make(QUOTE_PROMPT, (*asked.messages, Message(Role.ASSISTANT, answer), *wanted))
    (tokens,), _ = run.backend.count([request])
    if tokens + QUOTE_TOKENS <= run.backend.info().context:
        return request
    alone = {"text": reference.passage.text, "statement": statement, "none": True}
    return make(ALONE_PROMPT, prompts.get(ALONE_PROMPT).render(alone))


def find_statement(answer: str, number: int) -> str:
    """Return the sentences of an answer that cite a passage, without their numbers; a number may stand after its sentence."""
    found: list[str] = []
    before = ""
    for start, end in find_sentences(answer):
        sentence = answer[start:end]
        plain = _CITED.sub("", sentence).strip()
        if number in cited_numbers(sentence):
            found.append(plain if any(map(str.isalnum, plain)) else before)
        before = plain or before
    return " ".join(dict.fromkeys(filter(None, found))) or _CITED.sub("", answer).strip()
