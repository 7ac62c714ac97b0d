"""The amount of text that fits the context, in tokens, computed before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.text_cutting import cut_text
from llmcli.errors import ContextOverflow
from llmcli.interrupt import check_interrupt
from llmcli.types import Request

INEXACT_CONTEXT_SHARE = 0.85  # share of the context to plan with if a backend can only estimate token counts
MAX_CHARS_PER_TOKEN = 16  # the most characters a token, averaged over a text: a longer text is not worth counting
MIN_TEXT_TOKENS = 16  # with less room for text, a passage could be less than a word


class ContextBudget:
    """How much text fits one request next to its instructions and its answer.

    ``make`` builds the request for a text; ``answer`` returns the tokens to keep free for the answer to a text of that
    many tokens. Token counts of texts exclude the instructions, which are counted once, around an empty text.
    """

    def __init__(
        self, backend: Backend, make: Callable[[str], Request], answer: Callable[[int], int], *, subject: str = ""
    ) -> None:
        self._backend = backend
        self._make_request = make
        self._answer_tokens = answer
        self._subject = subject
        (self._instruction_tokens,), exact = backend.count([make("")])
        self.context = backend.info().context
        self._planned_tokens = self._plan_tokens(exact=exact)

    @property
    def free_tokens(self) -> int:
        """Tokens that a text and the answer to it may have."""
        return self._planned_tokens - self._instruction_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the token count of each text."""
        requests = []
        for text in texts:
            check_interrupt()
            requests.append(self._make_request(text))
        counts, _ = self._backend.count(requests)
        return [max(0, count - self._instruction_tokens) for count in counts]

    def fits_tokens(self, tokens: int) -> bool:
        """Whether a text of that many tokens fits one request."""
        return self._fits_within(self._planned_tokens, tokens)

    def fits(self, text: str, max_tokens: int | None = None) -> bool:
        """Whether a text fits one request, and has at most ``max_tokens``; a text that is far too long is not counted.

        A server may count long texts exactly and estimate others, so this is more precise than ``fits_tokens``.
        """
        limit = self.context if max_tokens is None else max_tokens
        if len(text) > MAX_CHARS_PER_TOKEN * limit:
            return False
        check_interrupt()
        (count,), exact = self._backend.count([self._make_request(text)])
        tokens = max(0, count - self._instruction_tokens)
        return tokens <= limit and self._fits_within(self._plan_tokens(exact=exact), tokens)

    def _plan_tokens(self, *, exact: bool) -> int:
        return self.context if exact else int(self.context * INEXACT_CONTEXT_SHARE)

    def _fits_within(self, planned: int, tokens: int) -> bool:
        return self._instruction_tokens + tokens + self._answer_tokens(tokens) <= planned

    def overflow_error(self, tokens: int) -> ContextOverflow:
        """Return the error for a text of that many tokens which does not fit and cannot be split."""
        whole = self._instruction_tokens + tokens
        return ContextOverflow(self._subject, tokens=whole, context=self.context, at_least=whole > self.context)

    def split_to_fit(
        self, text: str, *, max_characters: int | None = None, max_tokens: int | None = None
    ) -> Iterator[str]:
        """Yield the passages of a text that fit, cut at paragraph borders if possible; joined, they equal the text.

        No passage is longer than ``max_characters`` or ``max_tokens``. Raises ``ContextOverflow`` when instructions and
        answer leave too little room for text.
        """
        if not self.fits_tokens(MIN_TEXT_TOKENS):
            raise self.overflow_error(self.count_tokens([text])[0])
        longest = len(text) if max_characters is None else max_characters
        yield from cut_text(text, lambda passage: len(passage) <= longest and self.fits(passage, max_tokens))
