"""Drawing the next token in C: one sampler chain a sequence, a grammar tried on the drawn token first."""

from __future__ import annotations

import ctypes
import json
import math
import re
import secrets
from collections.abc import Mapping
from typing import Any

from llmcli.engine import gbnf, native
from llmcli.engine.model import Model
from llmcli.engine.numerals import choice, literal
from llmcli.engine.schemas import GRAMMAR, MOST_COUNT, prepared
from llmcli.errors import InputError, InternalError
from llmcli.types import Request, Sampling

PENALTY_WINDOW = 256
"""How many last tokens the repetition penalties look at: small models repeat whole paragraphs, which llama.cpp's own
default of 64 does not see."""

_DEEPEST = 100
_PART = re.compile(r'"(?:\\.|[^"\\])*"|\[(\^?)((?:\\.|[^\]\\])*)\]')
"""A text or a set of characters in a grammar."""
_LONGEST = 1 << 20
"""Characters of a grammar."""
_WIDEST = 500
_SIGN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|::=|[()|]', re.DOTALL)
_LARGEST_SEED = 2**32 - 2
"""LLAMA_DEFAULT_SEED, the number after it, would draw a seed at random."""


class Sampler:
    """A chain of llama.cpp's samplers with its own random numbers. Free with ``close``."""

    def __init__(self, model: Model, sampling: Sampling, grammar: str | None = None) -> None:
        """``grammar``: GBNF with a rule ``root``. Raises ``InputError`` when llama.cpp does not accept it."""
        self._lib = lib = native.lib()
        self._model = model
        self._grammar = _grammar(lib, model, grammar) if grammar is not None else None
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        self.seed = min(seed, _LARGEST_SEED)
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._chain: Any = chain
        add = lib.llama_sampler_chain_add
        # top_k goes first: sorting 40 candidates instead of the vocabulary makes every later step cheap
        if sampling.temperature > 0 and sampling.top_k is not None:
            add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        if penalties != (1.0, 0.0, 0.0):
            add(chain, lib.llama_sampler_init_penalties(model.vocab_size, PENALTY_WINDOW, *penalties))
        if sampling.temperature > 0:
            if sampling.top_p is not None:
                add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p is not None:
                add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
            add(chain, lib.llama_sampler_init_temp(sampling.temperature))
            add(chain, lib.llama_sampler_init_dist(self.seed))
        else:
            add(chain, lib.llama_sampler_init_greedy())

    def sample(self, context: Any, index: int) -> int:
        """Draw a token from the logits of batch position ``index`` and accept it."""
        token: int = self._lib.llama_sampler_sample(self._chain, context, index)
        if self._grammar is None:
            return token
        # Almost every token the model likes is allowed, so one candidate is checked instead of the vocabulary.
        if not self._allowed(token):
            token = self._sample_allowed(context, index)
        self._lib.llama_sampler_accept(self._grammar, token)
        return token

    def _allowed(self, token: int) -> bool:
        one = (self._lib.llama_token_data * 1)(self._lib.llama_token_data(token, 1.0, 0.0))
        array = self._lib.llama_token_data_array(one, 1, -1, False)
        self._lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return math.isfinite(one[0].logit)

    def _sample_allowed(self, context: Any, index: int) -> int:
        import numpy as np

        lib = self._lib
        size = self._model.vocab_size
        data = (lib.llama_token_data * size)()
        view = np.ctypeslib.as_array(data)
        view["id"] = np.arange(size)
        view["logit"] = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, index), (size,))
        array = lib.llama_token_data_array(data, size, -1, False)
        lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size or not math.isfinite(array.data[array.selected].logit):
            raise InternalError("sampling", detail="the grammar allows no token")
        token = int(array.data[array.selected].id)
        lib.llama_sampler_accept(self._chain, token)  # the penalties count it (and the refused one before it)
        return token

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar:
            self._lib.llama_sampler_free(self._grammar)
            self._grammar = None


def _check_width(grammar: str) -> None:
    """Refuse many alternatives side by side, all of which are looked at for each token: a millisecond for two or so."""
    counts = [0]
    for found in _SIGN.finditer(grammar):
        sign = found.group()
        if sign == "(":
            counts.append(0)
        elif sign == ")" and len(counts) > 1:
            counts.pop()
        elif sign == "::=":
            counts = [0]
        elif sign == "|":
            counts[-1] += 1
            if counts[-1] >= _WIDEST:
                raise InputError("grammar", detail=f"more than {_WIDEST} alternatives stand side by side")


def _grammar(lib: Any, model: Model, grammar: str) -> Any:
    if not grammar.strip():  # llama.cpp takes an empty grammar for one without rules, and crashes later
        raise InputError("grammar", detail="it is empty")
    if len(grammar) > _LONGEST:
        raise InputError("grammar", detail=f"it is longer than {_LONGEST} characters")
    _check_width(grammar)
    given = grammar.encode("utf-8", "replace")
    for token in gbnf.check(given.decode()):
        text, found = token.encode(), (ctypes.c_int32 * 2)()
        if lib.llama_tokenize(model.vocab, text, len(text), found, 2, False, True) != 1:
            raise InputError("grammar", detail=f"{token} is no token of this model")
    native.log.clear()
    sampler = lib.llama_sampler_init_grammar(model.vocab, given, b"root")
    if not sampler:
        raise InputError("grammar", detail=native.log.cause() or "llama.cpp does not accept it")
    return sampler


def _check_patterns(schema: object, depth: int = 0) -> None:
    """Refuse repetitions that llama.cpp would write out: a million of them overflow its stack."""
    if depth > _DEEPEST:
        raise InputError("schema", detail=f"it is nested more than {_DEEPEST} deep")
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name == "pattern" and isinstance(value, str):
                count = max(map(int, re.findall(r"[{,]([0-9]{1,9})", value)), default=0)
                if count > MOST_COUNT:
                    raise InputError("schema", detail=f"pattern repeats more than {MOST_COUNT} times")
            _check_patterns(value, depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            _check_patterns(value, depth + 1)


def grammar_of(request: Request) -> str | None:
    """Return the grammar that binds the answer to a request, None for a free one. Raises ``InputError``."""
    if request.schema is not None:
        return schema_to_grammar(request.schema)
    if request.labels:
        return f"root ::= {choice(request.labels)}"
    return request.grammar


def _json_literal(text: str) -> str:
    """Return JSON, which the binding wrote in ASCII, as GBNF writes it, with the characters that a model would write."""
    return literal(json.dumps(json.loads(text), ensure_ascii=False))


def _without_controls(part: re.Match[str]) -> str:
    """Return a part of a grammar of JSON; sets of all characters but some leave out those too that no text holds."""
    return f'[^"\\\\\\x7F\\x00-\\x1F{part[2]}]' if part[1] else part[0]


def schema_to_grammar(schema: Mapping[str, Any]) -> str:
    """Translate a JSON schema to GBNF with the converter of llama.cpp's binding. Raises ``InputError``.

    It gets what it keeps (``schemas.prepared``), and what stands under ``GRAMMAR`` as it is. Its literals are ours: the
    binding's own lose the backslashes of JSON, so that a value with a quotation mark in it is no grammar, and one with a
    line end or an emoji another value. So are the characters of its texts: it lets line ends and other control characters
    stand there as they are, which JSON forbids (RFC 8259, section 7), and in the language of a pattern quotation marks too.
    """
    _check_patterns(schema)
    native.lib()
    from llama_cpp import llama_grammar

    converter: Any = llama_grammar.SchemaConverter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    visit = converter.visit

    def visiting(part: Mapping[str, Any], name: str) -> str:
        if GRAMMAR not in part:
            return str(visit(part, name))
        reserved = name in llama_grammar.RESERVED_NAMES
        return str(converter._add_rule(f"{name}-" if reserved else name or "root", part[GRAMMAR]))  # noqa: SLF001

    converter.visit = visiting
    converter._format_literal = _json_literal  # noqa: SLF001
    try:
        root, converter._refs = prepared(schema)  # noqa: SLF001
        converter.visit(root, "")
        return _PART.sub(_without_controls, str(converter.format_grammar()))
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError, RecursionError, IndexError) as error:
        raise InputError("schema", detail="it holds something that no grammar can be made of") from error
