"""The requests of a written summary: which prompt a stage uses, how long its answers may be, how much text fits."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Row
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.context_budget import MIN_TEXT_TOKENS, ContextBudget
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.summarize.joined_documents import CombinedText
from llmcli.tasks.summarize.summary_form import CHECKED_STYLES, find_form_problem, quoted_words
from llmcli.tasks.summarize.summary_options import FACTS, HEADLINE, SummaryOptions, count_words, length_warning
from llmcli.types import Message, RepetitionPolicy, Request, Role

PROMPT, MERGE_PROMPT, UPDATE_PROMPT = "summarize", "summarize.merge", "summarize.update"
LENGTH_PROMPT = "summarize.length"
MAX_TOKENS = 512  # for a summary without a length from the user
MAX_PART_TOKENS = 256  # for the facts of a part without one
PART_SHARE = 4
"""A part is up to this many times as long as the facts about it may be.

A model reads many short parts faster than few long ones, since attention costs the square of the length, and writes
their facts in one batch; small models find more of the facts in a short text, too. The facts of all parts are much
shorter than the text however often they are merged.
"""
MIN_PART_WORDS = 50  # the fewest words for the summary of a part if the user set a length


def max_summary_tokens(words: int) -> int:
    """Return the token limit for that many words: up to 3 tokens a word (long words, small vocabularies), plus 32."""
    return 3 * words + 32


@frozen
class SummaryPlan:
    """The settings for all documents of a run; stage 0 summarizes the document, later stages merge summaries.

    ``row``: the columns of a record, None for a document. ``earlier``: the summary to update, "" for none: then the
    text is what is new, and the last stage joins both. ``combined``: the text is that of several documents.
    ``checks_form``: a summary that is not in the form of its style is written again.
    """

    backend: Backend
    prompts: PromptLibrary
    options: GenerationOptions
    wanted: SummaryOptions
    style: str
    row: Row | None = None
    earlier: str = ""
    combined: CombinedText | None = None
    checks_form: bool = True

    @property
    def context(self) -> int:
        """The context of the model in tokens."""
        return self.backend.info().context

    @property
    def words(self) -> int | None:
        """The wanted length of the summary, of which a headline has only a limit."""
        return None if self.style == HEADLINE else self.wanted.words

    @property
    def may_rewrite(self) -> bool:
        """Whether a summary is written again if it misses the length or the form."""
        return self.words is not None or (self.checks_form and self.style in CHECKED_STYLES)

    def form_problem(self, summary: str) -> str:
        """Return what is wrong with the form of a summary; "" if nothing is, or if the form does not matter."""
        return find_form_problem(summary, self.style) if self.checks_form else ""

    def is_better(self, summary: str, other: str) -> bool:
        """Whether a summary has the right form and another one has not, or is nearer to the wanted length."""
        wrong, other_wrong = bool(self.form_problem(summary)), bool(self.form_problem(other))
        if wrong != other_wrong or self.words is None:
            return other_wrong and not wrong
        return abs(count_words(summary) - self.words) < abs(count_words(other) - self.words)

    def prompt(self, stage: int, *, is_last: bool = False) -> Prompt:
        """Return the prompt of a stage; ``is_last``: of the one request whose answer is the summary."""
        if is_last and self.earlier:
            return self.prompts.get(UPDATE_PROMPT)
        return self.prompts.get(MERGE_PROMPT if stage else PROMPT)

    def part_words(self, parts: int) -> int | None:
        """The parts together may be twice as long as the summary, so that merging can choose among them."""
        words = self.wanted.words
        return None if words is None else max(MIN_PART_WORDS, math.ceil(2 * words / parts))

    def request(
        self,
        request_id: str,
        stage: int,
        text: str,
        limit: int,
        *,
        part: int = 1,
        parts: int = 1,
        is_last: bool = False,
    ) -> Request:
        """Return the request for a whole text (``is_last``), or for a part whose summary will be merged."""
        words = self.wanted.words if is_last else self.part_words(max(2, parts))
        values: dict[str, object] = {
            "text": text,
            "words": "" if words is None else str(words),
            "style": self.style if is_last else FACTS,
            "focus": self.wanted.focus,
            "audience": self.wanted.audience,
            "language": self.wanted.language,
        }
        prompt = self.prompt(stage, is_last=is_last)
        if prompt.name == UPDATE_PROMPT:
            values |= {"summary": self.earlier}
        elif stage == 0:
            values |= {"part": part, "parts": parts} | ({} if self.row is None else {"row": self.row})
        messages = prompt.render(values)
        return make_request(
            request_id,
            messages,
            prompt,
            self.options,
            max_tokens=limit,
            repetition=RepetitionPolicy.SUMMARY,
        )

    def instructions(self, stage: int, *, is_last: bool) -> str:
        """Return what the requests of a stage say apart from texts, wishes and values of the user."""
        plan = replace(self, wanted=replace(self.wanted, focus="", audience=""))
        asked = plan.request("instructions", stage, "", 1, is_last=is_last).messages[-1].content
        values = [] if self.row is None else [str(self.row[name]) for name in self.row]
        return "\n".join(
            line
            for line in asked.splitlines()
            if line.strip() not in self.earlier or not self.earlier
            if not any(value and value in line for value in values)
        )

    def rewrite_request(self, request: Request, summary: str, problem: str) -> tuple[Request, str] | None:
        """Return the request for a summary of the wanted length and form after ``request`` had another answer.

        ``problem`` is what is wrong with it apart from the length. Also returns what the request says without the words
        of the summary that the problem quotes. None if there is no room for it in the context.
        """
        words, length = self.words, count_words(summary)
        missed = bool(length_warning(summary, words))
        prompt = self.prompts.get(LENGTH_PROMPT)
        values: dict[str, object] = {
            "words": str(words) if missed else "",
            "length": str(length),
            "longer": words is not None and words > length,
            "style": self.style,
            "problem": problem,
        }
        asked = [each for each in prompt.render(values) if each.role is Role.USER]
        messages = (*request.messages, Message(Role.ASSISTANT, summary), *asked)
        again = replace(request, id=f"{request.id}.length", messages=messages, public_prefix=False)
        (tokens,), _ = self.backend.count([again])
        if tokens + (again.max_tokens or 0) > self.context:
            return None
        return again, again.messages[-1].content.replace(quoted_words(problem) or "\0", "")

    def budget(self, stage: int, limit: int, *, is_last: bool, subject: str) -> ContextBudget:
        """Return how much text fits a request of a stage whose answer has at most ``limit`` tokens."""
        reserve = min(limit, self.context // 4)
        return ContextBudget(
            self.backend,
            lambda text: self.request(
                "count", stage, text, limit, part=1 if is_last else 2, parts=1 if is_last else 2, is_last=is_last
            ),
            lambda _: reserve,
            subject=subject,
        )

    def final_limit(self, stage: int) -> int:
        """Return the longest summary: a wanted length is no limit, so that one that misses it is not cut."""
        if self.options.max_tokens:
            return self.options.max_tokens
        limit = self._answer_limit(stage, self.wanted.words, MAX_TOKENS)
        return limit if self.wanted.words is None else max(MAX_TOKENS, limit)

    def part_limit(self, stage: int, stalls: int) -> int:
        """Return the longest facts of one of several parts; shorter after stages that did not shorten the text."""
        limit = self._answer_limit(stage, self.part_words(2), MAX_PART_TOKENS)
        return max(1, min(limit, self.context // 4) >> stalls)

    def part_tokens(self, stage: int) -> int:
        """Return the most tokens of a part's text, where the context does not admit less."""
        return max(MIN_TEXT_TOKENS, PART_SHARE * self.part_limit(stage, 0))

    def split(self, stage: int, text: str, stalls: int, *, subject: str) -> Iterator[str]:
        """Yield the parts of a text, one if it fits; joined, they equal it.

        Raises ``ContextOverflow`` where none fits.
        """
        budget = self.budget(stage, self.part_limit(stage, stalls), is_last=False, subject=subject)
        if budget.fits(text):
            yield text
        else:
            yield from budget.split_to_fit(text, max_tokens=self.part_tokens(stage))

    def _answer_limit(self, stage: int, words: int | None, otherwise: int) -> int:
        """Return the longest answer of a stage: by the wanted words, else by the prompt file."""
        return max_summary_tokens(words) if words is not None else self.prompt(stage).options.max_tokens or otherwise
