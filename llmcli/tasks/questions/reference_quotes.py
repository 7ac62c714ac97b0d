"""Quotes of the passages that an answer cites.

The request follows the answer in the same conversation: the passages are evaluated already. The grammar admits only words
that stand in the cited passage.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.sentences import find_sentences
from llmcli.frozen_dataclass import replace
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.response_buffer import UsageTally
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.tasks.questions.passage_quotes import place_in_document, quotable_passage
from llmcli.tasks.questions.question_prompts import QUOTE_PROMPT
from llmcli.tasks.questions.references import Reference, cited_numbers
from llmcli.tasks.quotation.quote_generation import QUOTE_TOKENS, QuoteGeneration, generate_quotes
from llmcli.types import Message, Notice, Priority, Progress, Request, Role

ALONE_PROMPT = "quote"
"""The prompt with the passage, for an answer that leaves no room in the context."""
_CITED = re.compile(r"\s*\[\d{1,4}(?:\s*[,;]\s*\d{1,4})*\]")


class ReferenceQuotes:
    """Fills the quotes of references; ``asked`` is the request that was answered."""

    def __init__(
        self, backend: Backend, prompts: PromptLibrary, options: GenerationOptions, asked: Request, tally: UsageTally
    ) -> None:
        self._backend = backend
        self._prompts = prompts
        self._options = replace(options, reasoning=False, max_tokens=None)
        self._asked = asked
        self._tally = tally

    def add(self, answer: str, references: Sequence[Reference]) -> Generator[Progress | Notice, None, list[Reference]]:
        """Yield progress; return the references, those that are cited with a quote if the model finds one.

        A failed request leaves its reference without a quote: the answer is there already.
        """
        wanted = {
            each.number: QuoteGeneration(
                quotable_passage(each.passage),
                self._request(answer, each),
                self._options,
            )
            for each in references
            if each.cited
        }
        for done, generation in enumerate(generate_quotes(self._backend, wanted.values()), 1):
            self._tally.add_usage(generation.usage)
            yield Progress(done, len(wanted), "quotes")
        for number, generation in wanted.items():
            if generation.error is not None:
                yield Notice(f"no quote for [{number}]: the request failed")
        return [self._add_quote(each, wanted.get(each.number)) for each in references]

    def _add_quote(self, reference: Reference, generation: QuoteGeneration | None) -> Reference:
        if generation is None or generation.quote is None:
            return reference
        return replace(reference, quote=place_in_document(generation.quote, reference.passage))

    def _request(self, answer: str, reference: Reference) -> Request:
        statement = find_statement(answer, reference.number)
        prompt = self._prompts.get(QUOTE_PROMPT)
        values = {"number": reference.number, "statement": statement, "none": True}
        messages = (
            *self._asked.messages,
            Message(Role.ASSISTANT, answer),
            *(each for each in prompt.render(values) if each.role is Role.USER),
        )
        request = self._make(reference, prompt.name, messages)
        (tokens,), _ = self._backend.count([request])
        if tokens + QUOTE_TOKENS <= self._backend.info().context:
            return request
        alone = {"text": reference.passage.text, "statement": statement, "none": True}
        return self._make(reference, ALONE_PROMPT, self._prompts.get(ALONE_PROMPT).render(alone))

    def _make(self, reference: Reference, prompt: str, messages: tuple[Message, ...]) -> Request:
        return make_request(
            f"quote.{reference.number}",
            messages,
            self._prompts.get(prompt),
            self._options,
            max_tokens=QUOTE_TOKENS,
            priority=Priority.INTERACTIVE,
            conversation=True,
        )


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
