"""What fits the context: planning in tokens before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.pieces import chunk
from llmcli.errors import ContextOverflow
from llmcli.interrupt import check
from llmcli.types import Request

INEXACT = 0.85  # share of the context that is planned with where a backend can only estimate token counts
LONGEST_TOKEN = 16  # characters a token at most, taken over a whole text: beyond that nothing is worth counting
SMALLEST = 16  # tokens: with less room than this for text, a piece could be less than a word


class Room:
    """How much text fits one request next to its instructions and its answer.

    ``make`` builds the request for a text; ``answer`` says how many tokens are kept free for the answer to a text of so
    many tokens. Token counts of texts are without the instructions, which are counted once, around an empty text.
    """

    def __init__(
        self, backend: Backend, make: Callable[[str], Request], answer: Callable[[int], int], *, subject: str = ""
    ) -> None:
        self._backend = backend
        self._make = make
        self._answer = answer
        self._subject = subject
        (self._overhead,), exact = backend.count([make("")])
        self.context = backend.info().context
        self._budget = self.context if exact else int(self.context * INEXACT)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""
        requests = []
        for text in texts:
            check()
            requests.append(self._make(text))
        counts, _ = self._backend.count(requests)
        return [max(0, count - self._overhead) for count in counts]

    def holds(self, tokens: int) -> bool:
        """Whether a text of so many tokens fits one request."""
        return self._overhead + tokens + self._answer(tokens) <= self._budget

    def fits(self, text: str) -> bool:
        """Whether a text fits one request; one that is far too long is not even counted."""
        return len(text) <= LONGEST_TOKEN * self._budget and self.holds(self.count([text])[0])

    def overflow(self, tokens: int) -> ContextOverflow:
        """Return the error that a text of so many tokens does not fit and cannot be made to."""
        whole = self._overhead + tokens
        return ContextOverflow(self._subject, tokens=whole, context=self.context, at_least=whole > self.context)

    def split(self, text: str) -> list[str]:
        """Cut a text into pieces that fit, at paragraph borders where it can be; joined, they are the text.

        Raises ``ContextOverflow`` when instructions and answer leave no room to speak of.
        """
        if not self.holds(SMALLEST):
            raise self.overflow(self.count([text])[0])
        return chunk(text, self.fits)
