"""Constrained decoding: llguidance says which tokens a JSON schema, labels or a grammar allow next.

llguidance never raises for a bad grammar or token: a matcher has an error from then on, so it is asked for it after its
construction and after each use.
"""

from __future__ import annotations

from typing import Any

from llmcli.errors import InternalError
from llmcli.errors.model_errors import BadGrammar

_PANIC, _FULL, _UNDECIDED = "panic:", "too many expressions", "Unable to determine if regex is empty"
"""Words in errors of llguidance."""
_MAX_MESSAGE_CHARACTERS = 200


class GrammarMatcher:
    """The state of one answer in its grammar."""

    def __init__(self, tokenizer: Any, grammar: str, subject: str, vocab_size: int) -> None:
        """``tokenizer``: llguidance's; ``grammar``: in its format; ``subject``: what errors are about.

        Raises ``BadGrammar``.
        """
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._subject = subject
        self._vocab_size = vocab_size
        self._mask_words = -(-tokenizer.vocab_size // 32)  # llguidance adds an EOS to a model that has none
        self._mask: Any = None
        self._tokens: list[int] = []
        self._num_tokens_at_rebuild = 0
        self._matcher = self._make_matcher()
        self._check()

    def accept(self, token: int) -> bool:
        """Advance by a token and return True; return False where it is not allowed. Raises ``BadGrammar``."""
        accepted: int = self._matcher.try_consume_tokens([token])
        if self._rebuild():
            accepted = self._matcher.try_consume_tokens([token])
        self._check()
        if accepted:
            self._tokens.append(token)
        return accepted == 1

    def allowed_prefix(self, tokens: list[int]) -> list[int]:
        """Return as many of ``tokens`` as may follow."""
        count: int = self._matcher.validate_tokens(tokens)  # 0 after an error, which ``accept`` reports
        return tokens[:count]

    def allowed_tokens(self) -> Any:
        """Return the numbers of the tokens that may follow (int64, ascending). Raises ``BadGrammar``."""
        import numpy as np

        if self._mask is None:
            self._mask = np.zeros(self._mask_words, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._rebuild():
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        self._check()
        bits = np.unpackbits(self._mask.view(np.uint8), count=self._vocab_size, bitorder="little")
        return np.flatnonzero(bits)

    def _make_matcher(self) -> Any:
        from llguidance import LLMatcher, LLParserLimits

        return LLMatcher(self._tokenizer, self._grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))

    def _rebuild(self) -> bool:
        """Replace a matcher whose memory of expressions is full, and return True; False for all other matchers.

        It gathers those of every mask. A new one gets only those of the answer so far.
        """
        full = self._matcher.is_error() and _FULL in self._matcher.get_error()
        if not full or len(self._tokens) == self._num_tokens_at_rebuild:
            return False
        self._num_tokens_at_rebuild = len(self._tokens)
        self._matcher = self._make_matcher()
        self._matcher.consume_tokens(self._tokens)
        return True

    @property
    def is_complete(self) -> bool:
        """Nothing but the end may follow."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            raise BadGrammar(self._subject, detail=_describe(self._matcher.get_error()))
        reason = self._matcher.stop_reason()
        if reason in {"ParserTooComplex", "LexerTooComplex", "MaxTokensTotal", "MaxTokensParser"}:
            raise BadGrammar(self._subject, detail="it takes too long to follow")
        if reason == "InternalError":
            raise InternalError("sampling", detail="llguidance cannot follow the grammar")


def _describe(error: str) -> str:
    """Return one line of an error of llguidance; a pattern's error is in its last line."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines or lines[0].startswith(_PANIC):
        return "llguidance does not accept it"
    if lines[0].startswith(_UNDECIDED):
        return "a pattern in it is too large"
    line = f"pattern: {lines[-1].removeprefix('error: ')}" if lines[0].startswith("regex parse error") else lines[0]
    return line[:_MAX_MESSAGE_CHARACTERS]
