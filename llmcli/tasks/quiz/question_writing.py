"""Questions that a model writes for an answer in a sentence, and those of them that lead back to it.

A question is kept if it has the form of one, does not say its answer, is about the sentence, and if the model, asked to
copy what answers it from the passage (``quotes.quote_generation``), copies the answer: round-trip consistency (Alberti et
al. 2019, Synthetic QA Corpora Generation with Roundtrip Consistency).
"""

from __future__ import annotations

import re

from llmcli.prompts import Prompt, PromptLibrary
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.quiz.source_sentences import Blank, SourceText
from llmcli.tasks.quotes.quote_generation import QuoteOptions, generate_quote
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun

PROMPT, ANSWER_PROMPT = "quiz.question", "ask.excerpt"
MIN_WORDS, MAX_WORDS = 5, 30
MIN_COVERAGE, MAX_FOREIGN = 0.4, 0.25
"""The least share of the sentence's terms that the question has, and the largest share of its own that the sentence lacks."""
_MAX_TOKENS = 48
_MAX_ANSWER_CHARS = 80
_QUESTION = re.compile(
    r"(?:(?:in|at|on|by|for|to|with|from|after|under|of) )?(?:what|which|who|whom|whose|when|where|why|how)\b",
    re.IGNORECASE,
)


class QuestionWriter:
    """Writes questions about blanks of one document."""

    def __init__(
        self, run: TaskRun, source: SourceText, prompts: PromptLibrary, options: GenerationOptions, prefix: str
    ) -> None:
        self._run, self._source, self._options, self._prefix = run, source, options, prefix
        self._prompt: Prompt = prompts.get(PROMPT)
        self._answer_prompt: Prompt = prompts.get(ANSWER_PROMPT)

    async def write(self, blank: Blank) -> str | None:
        """Return a question that the answer of the blank answers; None if what the model writes is none."""
        name = f"{self._prefix}.{blank.sentence.number}.{blank.start}"
        messages = self._prompt.render({"sentence": blank.sentence.text, "answer": blank.answer})
        request = make_request(f"{name}.question", messages, self._prompt, self._options, max_tokens=_MAX_TOKENS)
        question = " ".join((await self._run.ask(request)).text.split())
        if not is_question(question, blank):
            return None
        return question if await self._leads_back(name, question, blank) else None

    async def _leads_back(self, name: str, question: str, blank: Blank) -> bool:
        passage = self._source.passage(blank.sentence)
        messages = self._answer_prompt.render({"question": question, "text": passage.text})
        request = make_request(f"{name}.answer", messages, self._answer_prompt, self._options, max_tokens=_MAX_TOKENS)
        options = QuoteOptions(min_words=1, max_characters=_MAX_ANSWER_CHARS, allows_none=False, max_attempts=1)
        found = await generate_quote(self._run, passage, request, self._options, options)
        if found.quote is None:
            return False
        return set(find_terms(blank.answer)) <= set(find_terms(found.quote.text))


def is_question(text: str, blank: Blank) -> bool:
    """Whether a text is one question about the sentence of a blank, and does not say its answer."""
    answer = set(find_terms(blank.answer))
    own = set(find_terms(text)) - STOP_WORDS
    told = set(find_terms(blank.sentence.text)) - STOP_WORDS - answer
    return (
        text.endswith("?")
        and text.count("?") == 1
        and _QUESTION.match(text) is not None
        and MIN_WORDS <= len(text.split()) <= MAX_WORDS
        and not own & answer
        and len(own & told) >= MIN_COVERAGE * len(told)
        and len(own - told) <= MAX_FOREIGN * len(own)
    )
