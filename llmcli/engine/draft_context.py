"""The draft model's own context: one sequence, in step with the text of a generation; and matching vocabularies."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import DECODE_DONE, Context, ContextConfig, is_worth_aborting
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.errors import InternalError
from llmcli.models.footprint import MAX_DRAFT_CONTEXT_TOKENS

_BATCH_TOKENS = 256


class _FollowingThreadPolicy(ThreadPolicy):
    """Uses as many threads as the last step of the model that is drafted for, and measures nothing itself."""

    def __init__(self, leader: ThreadPolicy) -> None:
        super().__init__(leader.most, fixed=True)
        self._leader = leader

    def pick(self, tokens: int, *, prompt: bool = False) -> int:
        """Return the threads for a step."""
        del tokens
        return self._leader.last_used.get(prompt, self._leader.most)

    def record(self, threads: int, tokens: int, seconds: float, *, prompt: bool = False) -> None:
        """Tell the leader that the cores are busy."""
        del threads, tokens, seconds, prompt
        self._leader.note_other_work()


class _SingleOutputContext(Context):
    """A context that computes the logits of one token only."""

    @property
    def _purpose(self) -> str:
        return f"a draft context of {self.config.cells} tokens"

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        del config
        return 1


class DraftContext:
    """Evaluates the text of one sequence, or its end, and the tokens drafted after it. Used by one thread.

    It holds ``max_tokens`` at most. The native context is created at the first use and freed by ``close``, after which
    it can be used again.
    """

    def __init__(self, model: Model, max_tokens: int, threads: ThreadPolicy, should_abort: Callable[[], bool]) -> None:
        self._model = model
        self.max_tokens = min(max_tokens, MAX_DRAFT_CONTEXT_TOKENS, model.context_length or max_tokens)
        self._config = ContextConfig(
            cells=0,
            sequences=1,
            batch=_BATCH_TOKENS,
            flash_attention=False,  # fast for single tokens on every processor
            threads=_FollowingThreadPolicy(threads),
        ).with_cells(self.max_tokens)
        self._should_abort = should_abort
        self._context: _SingleOutputContext | None = None
        self._start = 0  # the position in the text of the first evaluated token
        self._evaluated: list[int] = []
        self._missing: list[int] = []
        self._last_evaluation_s = 0.0

    @property
    def num_missing_tokens(self) -> int:
        """Number of tokens of the text that are not evaluated yet, at least 1 after ``set_text``."""
        return len(self._missing)

    def count_missing(self, tokens: list[int]) -> int:
        """Return how many tokens of the text ``tokens`` are not evaluated yet, at least 1."""
        shared = self._count_shared(tokens)
        return len(tokens) - self._start - shared if shared else len(tokens)

    def _count_shared(self, tokens: list[int]) -> int:
        """Return how many of the evaluated tokens ``tokens`` have too; the last one has to be evaluated again."""
        following = tokens[self._start :]
        return max(0, min(common_prefix_length(self._evaluated, following), len(following) - 1))

    def set_text(self, tokens: list[int], max_missing: int, reserve: int) -> bool:
        """Prepare to continue the text ``tokens``: keep what it shares with the evaluated tokens, remove the rest.

        If more than ``max_missing`` tokens are missing, or the text does not fit with ``reserve`` further tokens, the
        last tokens of the text take the place of the whole. Returns False for tokens that the model does not have.
        Raises ``OutOfMemory``.
        """
        shared, missing = self._count_shared(tokens), self.count_missing(tokens)
        if not shared or missing > max_missing or len(tokens) - self._start + reserve > self.max_tokens:
            # half of the context, so that this does not recur at every token
            missing, shared = max(1, min(missing, max_missing, self.max_tokens // 2)), 0
            self._start = len(tokens) - missing
        following = tokens[len(tokens) - missing :]
        if max(following) >= self._model.vocab_size:
            return False
        self._truncate(shared)
        self._missing = following
        return True

    def evaluate_missing(self, max_tokens: int) -> bool:
        """Evaluate up to ``max_tokens`` of the missing tokens; False if the evaluation was aborted."""
        count = min(max_tokens, _BATCH_TOKENS)
        piece, self._missing = self._missing[:count], self._missing[count:]
        return self._evaluate(piece)

    def append(self, token: int) -> bool:
        """Evaluate a drafted token; False if the evaluation was aborted."""
        return self._evaluate([token])

    def likeliest_token(self) -> tuple[int, float]:
        """Return the likeliest token after the last evaluated one, and its probability (softmax of the logits)."""
        import numpy as np

        row = bindings.lib().llama_get_logits_ith(self._open().handle, -1)
        logits = bindings.float_array(row, (self._model.vocab_size,))
        token = int(logits.argmax())
        return token, float(1 / np.exp(logits - logits[token]).sum(dtype=np.float64))

    def clear(self) -> None:
        """Forget the text."""
        self._truncate(0)
        self._start, self._missing = 0, []

    def ends_text(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(bindings.lib().llama_vocab_is_eog(self._model.vocab, token))

    def close(self) -> None:
        """Free the native context."""
        if self._context is not None:
            self._context.close()
        self._context = None
        self._start, self._evaluated, self._missing = 0, [], []

    def _open(self) -> Context:
        """Return the native context; a new one first evaluates a token, since the first evaluation takes longer."""
        if self._context is None:
            self._context = _SingleOutputContext(self._model, self._config, self._should_abort)
            self._evaluate([0])
            self._truncate(0)
        return self._context

    def _truncate(self, length: int) -> None:
        """Remove everything that was evaluated from that number of tokens on."""
        bindings.lib().llama_memory_seq_rm(self._open().memory, 0, length, -1)
        del self._evaluated[length:]

    def _evaluate(self, tokens: list[int]) -> bool:
        context = self._open()
        if len(self._evaluated) + len(tokens) > self._config.cells:
            raise InternalError("draft context", detail="more tokens than it holds")
        if self._should_abort():
            return False
        context.batch.clear()
        context.batch.add(tokens, len(self._evaluated), 0, [len(tokens) - 1])
        started = time.monotonic()
        abortable = is_worth_aborting(len(tokens), self._last_evaluation_s)
        if context.evaluate(abortable=abortable) != DECODE_DONE:  # its cells suffice, so the evaluation was aborted
            self._truncate(len(self._evaluated))
            return False
        self._last_evaluation_s = time.monotonic() - started
        self._evaluated += tokens
        return True


_MAX_SIZE_DIFFERENCE_TOKENS = 128
"""Tokens by which two vocabularies may differ in size: unused ones that fill up the output matrix."""
_FIRST_COMPARED_TOKEN = 5
"""The token from which texts are compared: models rename the first ones, such as ``<unk>``, freely."""


def vocabulary_difference(target: Model, draft: Model) -> str:
    """Return how the vocabulary of ``draft`` differs from that of ``target``, "" if tokens mean the same in both.

    The rules are those of ``common_speculative_are_compatible`` in llama.cpp's ``common/speculative.cpp``: kind,
    special tokens, size, and the text of each token.
    """
    lib = bindings.lib()
    for name, read in (
        ("kind of vocabulary", lib.llama_vocab_type),
        ("first token of a text (BOS)", lib.llama_vocab_bos),
        ("last token of a text (EOS)", lib.llama_vocab_eos),
    ):
        theirs, own = read(draft.vocab), read(target.vocab)
        if theirs != own:
            return f"another {name}: {theirs} instead of {own}"
    if abs(draft.vocab_size - target.vocab_size) > _MAX_SIZE_DIFFERENCE_TOKENS:
        return f"{draft.vocab_size} tokens instead of {target.vocab_size}"
    tokens = range(_FIRST_COMPARED_TOKEN, min(draft.vocab_size, target.vocab_size))
    text = lib.llama_vocab_get_text
    pairs = zip(
        map(text, itertools.repeat(draft.vocab), tokens), map(text, itertools.repeat(target.vocab), tokens), strict=True
    )
    differing = next((token for token, (theirs, own) in zip(tokens, pairs, strict=True) if theirs != own), None)
    return "" if differing is None else f"another text of token {differing}"
