"""Checks a grammar before llama.cpp parses it.

llama.cpp prints a grammar that it cannot parse to standard error in full, and some grammars crash it: deep nesting
overflows its stack, and ``"a"{3,1}`` is repeated 2**64 times. Source of the format: llama.cpp, ``llama_grammar_parser``
in ``src/llama-grammar.cpp`` and ``grammars/README.md``.
"""

from __future__ import annotations

import ctypes
import functools
import re
from dataclasses import dataclass
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.errors import InputError

_MAX_GRAMMAR_CHARACTERS = 1 << 20
"""The most characters of a grammar."""
_MAX_ALTERNATIVES = 500
_MAX_GROUP_DEPTH = 100
_MAX_REPETITION_RULES = 2000
"""The most rules that the repetitions of one element may generate (``MAX_REPETITION_THRESHOLD``)."""

_SPACE = r"(?:[ \t]|#[^\r\n]*+)*+"
_SPACE_OR_LINES = r"(?:[ \t\r\n]|#[^\r\n]*+)*+"
_SPACE_PATTERNS = {False: re.compile(_SPACE), True: re.compile(_SPACE_OR_LINES)}
_RULE_NAME = re.compile(r"[a-zA-Z0-9-]+")
_ESCAPE = r'\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"\[\]-])'
_ELEMENT = re.compile(
    rf'"(?P<text>(?:{_ESCAPE}|[^"\\])*+)"'
    rf"|\[\^?(?P<set>(?:{_ESCAPE}|[^\]\\])*+)\]"
    r"|!?<(?:\[[0-9]{1,9}\]>|(?P<token>[^\[>][^>]*+)>)"
    r"|(?P<name>[a-zA-Z0-9-]+)"
    r"|\."
)
_REPETITION = {
    nested: re.compile(
        rf"[*+?]|\{{{space}(?P<least>[0-9]{{1,9}}){space}(?P<to>,{space}(?:(?P<most>[0-9]{{1,9}}){space})?)?\}}"
    )
    for nested, space in ((False, _SPACE), (True, _SPACE_OR_LINES))
}
_GRAMMAR_SIGN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|::=|[()|]', re.DOTALL)
_ERROR_BY_CHARACTER = {
    '"': "a string that is not closed or has an unknown escape",
    "[": "a character set that is not closed or has an unknown escape",
    "<": "an invalid token",
    "!": "an invalid token",
    "{": "an invalid repetition",
}


@dataclass(slots=True)
class _RuleGroup:
    """A rule, or a group inside it, as far as it was read."""

    symbols_before: int = 0
    repeatable: bool = False
    """The last element can be repeated."""
    rules: int = 1
    """Rules that the last element consists of."""


class _GrammarChecker:
    """Parses a grammar as llama.cpp does. Groups are counted in a list, not on the stack."""

    def __init__(self, grammar: str) -> None:
        self._text = grammar
        self._position = 0
        self._defined_rules: set[str] = set()
        self._used_rules: dict[str, int] = {}
        self._names: set[str] = set()
        self._tokens: dict[str, None] = {}
        self._generated_symbols = 0

    def check(self) -> tuple[str, ...]:
        """Return the named tokens; raises ``InputError`` if llama.cpp would refuse the grammar's syntax."""
        if "\0" in self._text:  # llama.cpp would end there
            self._position = self._text.index("\0")
            raise self._error("a null character")
        self._advance(lines=True)
        while self._position < len(self._text):
            self._read_rule()
        for name, position in self._used_rules.items():
            if name not in self._defined_rules:
                self._position = position
                raise self._error(f"it has no rule {name}")
        return tuple(self._tokens)

    def _error(self, what: str) -> InputError:
        line = self._text.count("\n", 0, self._position) + 1
        return InputError("grammar", detail=f"line {line}: {what}")

    @property
    def _next_character(self) -> str:
        return self._text[self._position : self._position + 1]

    @property
    def _symbol_count(self) -> int:
        return len(self._names) + self._generated_symbols

    def _advance(self, count: int = 0, *, lines: bool) -> None:
        """Skip ``count`` characters and the space that follows."""
        found = _SPACE_PATTERNS[lines].match(self._text, self._position + count)
        assert found is not None  # it may be empty
        self._position = found.end()

    def _read_rule(self) -> None:
        found = _RULE_NAME.match(self._text, self._position)
        if found is None:
            raise self._error("expected the name of a rule")
        self._defined_rules.add(found.group())
        self._names.add(found.group())
        self._advance(len(found.group()), lines=False)
        if not self._text.startswith("::=", self._position):
            raise self._error(f"expected ::= after {found.group()}")
        self._advance(3, lines=True)
        self._read_alternatives()
        if self._next_character and self._next_character not in "\r\n":
            raise self._error(_ERROR_BY_CHARACTER.get(self._next_character, f"unexpected {self._next_character!r}"))
        self._advance(lines=True)

    def _read_alternatives(self) -> None:
        groups = [_RuleGroup()]
        while self._next_character:
            group, nested = groups[-1], len(groups) > 1
            element = _ELEMENT.match(self._text, self._position)
            if element is not None:
                self._record_element(element)
                group.repeatable, group.rules = element["text"] != "" and element["set"] != "", 1
                self._advance(len(element.group()), lines=nested)
            elif self._next_character == "(":
                if len(groups) > _MAX_GROUP_DEPTH:
                    raise self._error(f"groups are nested more than {_MAX_GROUP_DEPTH} deep")
                groups.append(_RuleGroup(self._symbol_count))
                self._generated_symbols += 1
                self._advance(1, lines=True)
            elif self._next_character == ")" and nested:
                count = self._symbol_count - groups.pop().symbols_before
                groups[-1].repeatable, groups[-1].rules = True, max(1, count)
                self._advance(1, lines=len(groups) > 1)
            elif self._next_character == "|":
                group.repeatable, group.rules = False, 1
                self._advance(1, lines=True)
            elif (repetition := _REPETITION[nested].match(self._text, self._position)) is not None:
                self._count_repetition(group, repetition)
                self._advance(len(repetition.group()), lines=nested)
            else:
                break
        if len(groups) > 1:
            raise self._error(_ERROR_BY_CHARACTER.get(self._next_character, "a group is not closed"))

    def _record_element(self, element: re.Match[str]) -> None:
        if element["name"]:
            self._used_rules.setdefault(element["name"], self._position)
            self._names.add(element["name"])
        elif element["token"]:
            self._tokens[f"<{element['token']}>"] = None

    def _count_repetition(self, group: _RuleGroup, repetition: re.Match[str]) -> None:
        """Count the rules that a repetition generates, as llama.cpp does."""
        if not group.repeatable:
            raise self._error(f"{repetition.group()[0]} does not follow anything to repeat")
        sign = repetition.group()
        least: int = {"*": 0, "+": 1, "?": 0}[sign] if repetition["least"] is None else int(repetition["least"])
        most: int | None = {"*": None, "+": None, "?": 1}[sign] if repetition["least"] is None else least
        if repetition["to"]:
            most = int(repetition["most"]) if repetition["most"] else None
        if most is not None and most < least:
            raise self._error(f"a repetition from {least} to {most}")
        if most is not None and most > _MAX_REPETITION_RULES:
            most = None
        rules = group.rules * (most or least or 1)
        if least > _MAX_REPETITION_RULES or rules >= _MAX_REPETITION_RULES:
            raise self._error("too many repetitions")
        optional = 1 if most is None else most - least
        self._generated_symbols += optional
        group.rules = rules
        group.repeatable = least > 0 or optional > 0


@functools.lru_cache(maxsize=8)
def check_grammar(grammar: str) -> tuple[str, ...]:
    """Return the tokens that a grammar names, like ``<think>``, which the model must have.

    Raises ``InputError``, with the line, for a grammar that llama.cpp would not parse. llama.cpp itself checks the
    rules together and logs the errors: there must be a rule ``root``, and no rule may begin with itself.
    """
    return _GrammarChecker(grammar).check()


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
                raise InputError("grammar", detail=f"it has more than {_MAX_ALTERNATIVES} alternatives side by side")


def make_grammar_sampler(vocab: Any, grammar: str) -> Any:
    """Return llama.cpp's sampler of a grammar with a rule ``root``; ``vocab``: its handle. Raises ``InputError``."""
    if not grammar.strip():  # llama.cpp accepts an empty grammar as one without rules, and crashes later
        raise InputError("grammar", detail="it is empty")
    if len(grammar) > _MAX_GRAMMAR_CHARACTERS:
        raise InputError("grammar", detail=f"it is longer than {_MAX_GRAMMAR_CHARACTERS} characters")
    _check_alternatives(grammar)
    lib = bindings.lib()
    data = grammar.encode("utf-8", "replace")
    for token in check_grammar(data.decode()):
        text, found = token.encode(), (ctypes.c_int32 * 2)()
        if lib.llama_tokenize(vocab, text, len(text), found, 2, False, True) != 1:
            raise InputError("grammar", detail=f"{token} is no token of this model")
    bindings.log.clear()
    sampler = lib.llama_sampler_init_grammar(vocab, data, b"root")
    if not sampler:
        raise InputError("grammar", detail=bindings.log.error_summary() or "llama.cpp does not accept it")
    return sampler
