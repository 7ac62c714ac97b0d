"""Grammars for the constraint of a request: a JSON schema, a choice of labels, or a grammar of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.sampling.json_schema import GRAMMAR_KEY, MAX_REPETITIONS, prepare_schema
from llmcli.engine.sampling.number_ranges import choice_grammar, gbnf_literal
from llmcli.errors import InputError
from llmcli.types import Request

_MAX_SCHEMA_DEPTH = 100
_LITERAL_OR_SET = re.compile(r'"(?:\\.|[^"\\])*"|\[(\^?)((?:\\.|[^\]\\])*)\]')
"""A string or a character set in a grammar."""


def grammar_for_request(request: Request) -> str | None:
    """Return the grammar that constrains the answer to a request, or None. Raises ``InputError``."""
    if request.schema is not None:
        return schema_to_grammar(request.schema)
    if request.labels:
        return f"root ::= {choice_grammar(request.labels)}"
    return request.grammar


def _json_literal(text: str) -> str:
    """Return JSON, which the binding wrote in ASCII, as a GBNF literal with the characters that a model would write."""
    return gbnf_literal(json.dumps(json.loads(text), ensure_ascii=False))


def _exclude_control_characters(part: re.Match[str]) -> str:
    """Return a part of a JSON grammar whose negated sets also exclude the characters that JSON forbids in strings."""
    return f'[^"\\\\\\x7F\\x00-\\x1F{part[2]}]' if part[1] else part[0]


def schema_to_grammar(schema: Mapping[str, Any]) -> str:
    """Translate a JSON schema to GBNF with the converter of llama.cpp's binding. Raises ``InputError``.

    The converter gets only the keywords that it enforces (``prepare_schema``), and grammars under ``GRAMMAR_KEY``
    unchanged. Its literals are replaced: they lose the backslashes of JSON, so that a value with a quotation mark
    becomes an invalid grammar, and one with a line end or an emoji becomes another value. The characters of its strings
    are replaced as well: it allows line ends and other control characters there, which JSON forbids (RFC 8259, section
    7), and quotation marks in a pattern.
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
        raise InputError("schema", detail="it contains something that cannot become a grammar") from error


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
