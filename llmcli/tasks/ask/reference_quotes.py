"""Quotes of the passages that an answer cites.

The request follows the answer in the same conversation: the passages are evaluated already. The grammar admits only
words that stand in the cited passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llmcli.documents.sentences import find_sentences
from llmcli.errors import LlmError
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import check_interrupt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.ask.question_prompts import QUOTE_PROMPT
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument, Quote, SectionStart
from llmcli.tasks.quotes.quote_generation import QUOTE_TOKENS, generate_quote
from llmcli.tasks.retrieval.passage_pool import FoundPassage
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

    ``asked`` is the request that was answered. A failed request leaves its reference without a quote: the answer is
    there already.
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
    """Return the sentences of an answer that cite a passage, without their numbers.

    A number may stand after its sentence.
    """
    found: list[str] = []
    before = ""
    for start, end in find_sentences(answer):
        sentence = answer[start:end]
        plain = _CITED.sub("", sentence).strip()
        if number in cited_numbers(sentence):
            found.append(plain if any(map(str.isalnum, plain)) else before)
        before = plain or before
    return " ".join(dict.fromkeys(filter(None, found))) or _CITED.sub("", answer).strip()


_UNANSWERED = re.compile(r"\W*not in (?:these|the) (?:documents|passages)\b", re.IGNORECASE)
"""The answer that the prompt asks for where the documents do not answer the question: "Not in these documents."."""
_CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")


@frozen
class Reference:
    """Passage ``number`` of an answer, from 1. ``cited``: the answer names it.

    ``quote`` is what the passage says in its own words, None without one.
    """

    number: int
    passage: IndexedPassage
    cited: bool = False
    quote: Quote | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the object of ``--json``: offsets are in characters of the document's text."""
        passage = self.passage
        return {
            "number": self.number,
            "cited": self.cited,
            "file": passage.path,
            "source": passage.source,
            "page": passage.page,
            "first_line": passage.first_line,
            "last_line": passage.last_line,
            "start": passage.start,
            "end": passage.start + len(passage.text),
            "headings": list(passage.headings),
            **({} if self.quote is None else {"quote": self.quote.to_json()}),
        }


def is_answered(answer: str) -> bool:
    """Whether an answer is not the sentence for what the documents do not say."""
    return _UNANSWERED.match(answer) is None


def cited_numbers(answer: str) -> set[int]:
    """Return the numbers that an answer cites: of "[1]", and of "[1, 2]"."""
    return {int(number) for group in _CITATION.findall(answer) for number in re.findall(r"\d+", group)}


def find_references(answer: str, passages: Sequence[IndexedPassage]) -> list[Reference]:
    """Return a reference for each of the ``passages`` that an answer was written from, in their order."""
    cited = cited_numbers(answer)
    return [Reference(number, each, number in cited) for number, each in enumerate(passages, 1)]


def unknown_citations(answer: str, references: Sequence[Reference]) -> list[str]:
    """Return a warning for each cited number that is that of no passage."""
    unknown = sorted(cited_numbers(answer) - {each.number for each in references})
    return [f"the answer cites [{number}], which is no passage" for number in unknown]


@frozen
class QuotedPassage:
    """A passage with its quote, whose place is that in the document."""

    found: FoundPassage
    quote: Quote


def quotable_passage(passage: IndexedPassage) -> PassageSpan:
    """Return the text of a passage to quote from."""
    return QuotableDocument(passage.source, passage.text, (SectionStart(0, passage.source, passage.page),)).whole()


def place_in_document(quote: Quote, passage: IndexedPassage) -> Quote:
    """Return a quote from the text of a passage with its place in the document."""
    lines = passage.first_line - 1
    return replace(
        quote,
        start=quote.start + passage.start,
        end=quote.end + passage.start,
        first_line=quote.first_line + lines,
        last_line=quote.last_line + lines,
    )
