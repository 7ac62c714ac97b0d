"""Whether the tokens of one model mean the same in another, so that one can draft for the other."""

from __future__ import annotations

import itertools

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model

MAX_SIZE_DIFFERENCE_TOKENS = 128
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
    if abs(draft.vocab_size - target.vocab_size) > MAX_SIZE_DIFFERENCE_TOKENS:
        return f"{draft.vocab_size} tokens instead of {target.vocab_size}"
    tokens = range(_FIRST_COMPARED_TOKEN, min(draft.vocab_size, target.vocab_size))
    text = lib.llama_vocab_get_text
    pairs = zip(
        map(text, itertools.repeat(draft.vocab), tokens), map(text, itertools.repeat(target.vocab), tokens), strict=True
    )
    differing = next((token for token, (theirs, own) in zip(tokens, pairs, strict=True) if theirs != own), None)
    return "" if differing is None else f"another text of token {differing}"
