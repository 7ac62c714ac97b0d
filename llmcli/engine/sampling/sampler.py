"""Sampling the next token in C: one sampler chain for each sequence, a grammar checked on the sampled token first."""

from __future__ import annotations

import ctypes
import json
import math
import re
import secrets
from collections.abc import Mapping
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling import gbnf
from llmcli.engine.sampling.json_schema import GRAMMAR_KEY, MAX_REPETITIONS, prepare_schema
from llmcli.engine.sampling.number_ranges import choice_grammar, gbnf_literal
from llmcli.errors import InputError, InternalError
from llmcli.types import Request, Sampling

PENALTY_WINDOW_TOKENS = 256
"""Last tokens that the repetition penalties consider: small models repeat whole paragraphs, which llama.cpp's own
default of 64 does not cover."""

_MAX_SCHEMA_DEPTH = 100
_LITERAL_OR_SET = re.compile(r'"(?:\\.|[^"\\])*"|\[(\^?)((?:\\.|[^\]\\])*)\]')
"""A text or a set of characters in a grammar."""
_MAX_GRAMMAR_CHARACTERS = 1 << 20
"""Characters of a grammar."""
_MAX_ALTERNATIVES = 500
_GRAMMAR_SIGN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|::=|[()|]', re.DOTALL)
_MAX_SEED = 2**32 - 2
"""LLAMA_DEFAULT_SEED, the number after it, would choose a random seed."""


class Sampler:
    """A chain of llama.cpp's samplers with its own random numbers. Free with ``close``."""

    def __init__(self, model: Model, sampling: Sampling, grammar: str | None = None) -> None:
        """``grammar``: GBNF with a rule ``root``. Raises ``InputError`` when llama.cpp does not accept it."""
        self._lib = lib = bindings.lib()
        self._model = model
        self._grammar_sampler = _make_grammar_sampler(lib, model, grammar) if grammar is not None else None
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        self.seed = min(seed, _MAX_SEED)
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._chain: Any = chain
        add = lib.llama_sampler_chain_add
        # top_k goes first: sorting 40 candidates instead of the vocabulary makes every later step cheap
        if sampling.temperature > 0 and sampling.top_k is not None:
            add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        if penalties != (1.0, 0.0, 0.0):
            add(chain, lib.llama_sampler_init_penalties(model.vocab_size, PENALTY_WINDOW_TOKENS, *penalties))
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
        """Sample a token from the logits of batch position ``index`` and accept it."""
        token: int = self._lib.llama_sampler_sample(self._chain, context, index)
        if self._grammar_sampler is None:
            return token
        # Almost every sampled token is allowed, so one candidate is checked instead of the vocabulary.
        if not self._is_allowed(token):
            token = self._sample_allowed(context, index)
        self._lib.llama_sampler_accept(self._grammar_sampler, token)
        return token

    def _is_allowed(self, token: int) -> bool:
        one = (self._lib.llama_token_data * 1)(self._lib.llama_token_data(token, 1.0, 0.0))
        array = self._lib.llama_token_data_array(one, 1, -1, False)
        self._lib.llama_sampler_apply(self._grammar_sampler, ctypes.byref(array))
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
        lib.llama_sampler_apply(self._grammar_sampler, ctypes.byref(array))
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size or not math.isfinite(array.data[array.selected].logit):
            raise InternalError("sampling", detail="the grammar allows no token")
        token = int(array.data[array.selected].id)
        lib.llama_sampler_accept(self._chain, token)  # the penalties count it (and the rejected one before it)
        return token

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar_sampler:
            self._lib.llama_sampler_free(self._grammar_sampler)
            self._grammar_sampler = None


def _check_alternatives(grammar: str) -> None:
    """Refuse many alternatives side by side: llama.cpp tries all for each token, about two in a millisecond."""
    counts = [0]
    for found in _GRAMMAR_SIGN.finditer(grammar):
        sign = found.group()
        if sign == "(":
            counts.append(0)
        elif sign == ")" and len(counts) > 1:
            counts.pop()
        elif sign == "::=":
            counts = [0]
        elif sign == "|":
            counts[-1] += 1
            if counts[-1] >= _MAX_ALTERNATIVES:
                raise InputError("grammar", detail=f"more than {_MAX_ALTERNATIVES} alternatives stand side by side")


def _make_grammar_sampler(lib: Any, model: Model, grammar: str) -> Any:
    if not grammar.strip():  # llama.cpp accepts an empty grammar as one without rules, and crashes later
        raise InputError("grammar", detail="it is empty")
    if len(grammar) > _MAX_GRAMMAR_CHARACTERS:
        raise InputError("grammar", detail=f"it is longer than {_MAX_GRAMMAR_CHARACTERS} characters")
    _check_alternatives(grammar)
    data = grammar.encode("utf-8", "replace")
    for token in gbnf.check_grammar(data.decode()):
        text, found = token.encode(), (ctypes.c_int32 * 2)()
        if lib.llama_tokenize(model.vocab, text, len(text), found, 2, False, True) != 1:
            raise InputError("grammar", detail=f"{token} is no token of this model")
    bindings.log.clear()
    sampler = lib.llama_sampler_init_grammar(model.vocab, data, b"root")
    if not sampler:
        raise InputError("grammar", detail=bindings.log.error_summary() or "llama.cpp does not accept it")
    return sampler


def _check_patterns(schema: object, depth: int = 0) -> None:
    """Refuse repetitions that llama.cpp would expand: a million of them overflow its stack."""
    if depth > _MAX_SCHEMA_DEPTH:
        raise InputError("schema", detail=f"it is nested more than {_MAX_SCHEMA_DEPTH} deep")
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name == "pattern" and isinstance(value, str):
                count = max(map(int, re.findall(r"[{,]([0-9]{1,9})", value)), default=0)
                if count > MAX_REPETITIONS:
                    raise InputError("schema", detail=f"pattern repeats more than {MAX_REPETITIONS} times")
            _check_patterns(value, depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            _check_patterns(value, depth + 1)


def grammar_for_request(request: Request) -> str | None:
    """Return the grammar that constrains the answer to a request, or None. Raises ``InputError``."""
    if request.schema is not None:
        return schema_to_grammar(request.schema)
    if request.labels:
        return f"root ::= {choice_grammar(request.labels)}"
    return request.grammar


def _json_literal(text: str) -> str:
    """Return JSON, which the binding wrote in ASCII, as a literal of GBNF with the characters that a model would write."""
    return gbnf_literal(json.dumps(json.loads(text), ensure_ascii=False))


def _exclude_control_characters(part: re.Match[str]) -> str:
    """Return a part of a grammar of JSON; negated sets exclude characters too that JSON forbids in strings."""
    return f'[^"\\\\\\x7F\\x00-\\x1F{part[2]}]' if part[1] else part[0]


def schema_to_grammar(schema: Mapping[str, Any]) -> str:
    """Translate a JSON schema to GBNF with the converter of llama.cpp's binding. Raises ``InputError``.

    It gets only what it respects (``prepare_schema``), and grammars under ``GRAMMAR_KEY`` unchanged. Its literals are
    replaced: the binding's own lose the backslashes of JSON, so that a value with a quotation mark becomes an invalid
    grammar, and one with a line end or an emoji another value. So are the characters of its strings: it allows line ends
    and other control characters there, which JSON forbids (RFC 8259, section 7), and in a pattern quotation marks too.
    """
    _check_patterns(schema)
    bindings.lib()
    from llama_cpp import llama_grammar

    converter: Any = llama_grammar.SchemaConverter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    visit = converter.visit

    def visit_or_insert(part: Mapping[str, Any], name: str) -> str:
        if GRAMMAR_KEY not in part:
            return str(visit(part, name))
        reserved = name in llama_grammar.RESERVED_NAMES
        return str(converter._add_rule(f"{name}-" if reserved else name or "root", part[GRAMMAR_KEY]))  # noqa: SLF001

    converter.visit = visit_or_insert
    converter._format_literal = _json_literal  # noqa: SLF001
    try:
        root, converter._refs = prepare_schema(schema)  # noqa: SLF001
        converter.visit(root, "")
        return _LITERAL_OR_SET.sub(_exclude_control_characters, str(converter.format_grammar()))
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError, RecursionError, IndexError) as error:
        raise InputError("schema", detail="it holds something that no grammar can be made of") from error
