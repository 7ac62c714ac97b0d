"""Grammars are checked as llama.cpp reads them, so that it neither prints them nor crashes."""

from __future__ import annotations

import ctypes
import os
import random

import pytest

from llmcli.engine.llama import bindings
from llmcli.engine.sampling import gbnf
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sampling.schema_grammar import schema_to_grammar
from llmcli.errors import InputError
from llmcli.types import Sampling

BY_HAND = """root ::= "a" b | [^a-z\\]]+ (x | y){2,3}   # a comment
b ::= <|im_start|> !<[5]>?
x ::= "\\x41\\n\\u00e9" .*

y ::= ( "q"
  | [a-\\-] ){ 2 , }
"""
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]{1,3}(x|y)?$"},
        "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name"],
}
PIECES = [
    *'"[]()|*+?{},.<>!#\\ \n\r\t-^ax019:=é', "::=", "root", "{2}", "{0}", "{0,}", "{1,3}", "{900}", '""', "[]", "\\x4",
    "\\u00e9", "<|im_end|>", "b", "{ 2 , }", "#c\n", "(" * 5, ")" * 5,
]  # fmt: skip


def parse(model, grammar):
    """Have llama.cpp parse a grammar; the caller looks at what it prints."""
    lib = bindings.lib()
    sampler = lib.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
    if sampler:
        lib.llama_sampler_free(sampler)


def refusal(model, grammar):
    """Return why the check refuses a grammar, "" if it passes."""
    try:
        tokens = gbnf.check_grammar(grammar)
    except InputError as error:
        return error.detail
    found = (ctypes.c_int32 * 2)()
    for token in map(str.encode, tokens):
        if bindings.lib().llama_tokenize(model.vocab, token, len(token), found, 2, False, True) != 1:
            return "no token"
    return ""


def mutated(draw, text):
    """Return a text with a few characters more, fewer, or others."""
    signs = list(text)
    for _ in range(draw.randint(0, 4)):
        place, how = draw.randrange(len(signs) + 1), draw.random()
        if how < 0.4:
            signs[place:place] = [draw.choice(PIECES)]
        elif how < 0.7:
            del signs[place : place + draw.randint(1, 4)]
        else:
            signs[place : place + 1] = [draw.choice(PIECES)]
    return "".join(signs)


def test_the_check_agrees_with_llama_cpp(models, capfd):
    """Of thousands of grammars with small mistakes, the check refuses exactly those that llama.cpp rejects."""
    model, draw = models("chatml"), random.Random(7)
    sources, passed, refused = [BY_HAND, schema_to_grammar(SCHEMA)], 0, 0
    for _ in range(3000):
        grammar = mutated(draw, draw.choice(sources))
        why = refusal(model, grammar)
        if "a repetition from" in why:  # llama.cpp would count to 2**64
            continue
        parse(model, grammar)
        assert bool(why) is ("error parsing" in capfd.readouterr().err), grammar
        passed, refused = passed + (not why), refused + bool(why)
    assert passed > 300 and refused > 300


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ('root ::= "a', "line 1: a string that is not closed"),
        ('root ::= "a"\nx ::= [a', "line 2: a character set"),
        ('root ::= "a"\n\nb ::= other', "line 3: it has no rule other"),
        ('root ::= ("a"', "a group is not closed"),
        ('root ::= "a" )', r"unexpected '\)'"),
        ('root = "a"', "expected ::= after root"),
        ("root ::= *", r"\* does not follow anything to repeat"),
        ('root ::= ""+', r"\+ does not follow anything to repeat"),
        ('root ::= "a"{2001}', "too many repetitions"),
        ('root ::= ("a"? "b"?){900}', "too many repetitions"),
        ('root ::= "a"\0"b"', "a null character"),
        ("::=", "expected the name of a rule"),
    ],
)
def test_a_refusal_names_line_and_problem(grammar, words):
    """The line, from 1, and the problem."""
    with pytest.raises(InputError, match=words):
        gbnf.check_grammar(grammar)


@pytest.mark.parametrize("grammar", ['root ::= "a"{3,1}', "root ::= " + "(" * 300_000 + '"a"' + ")" * 300_000])
def test_grammars_that_crash_llama_cpp_are_refused(models, grammar):
    """A repetition that counts to 2**64, and nesting that overflows its stack."""
    with pytest.raises(InputError):
        Sampler(models("chatml"), Sampling(), grammar)


def test_a_token_that_the_model_lacks_is_refused(models):
    """The error names the token."""
    Sampler(models("chatml"), Sampling(), "root ::= <|im_end|>").close()
    with pytest.raises(InputError, match="<no such token> is no token"):
        Sampler(models("chatml"), Sampling(), "root ::= <no such token>")


def test_descriptor_2_is_not_redirected(models, capfd, monkeypatch):
    """Output of other threads is not lost while a grammar is parsed, and a bad grammar is not printed."""
    lib = bindings.lib()
    make = lib.llama_sampler_init_grammar

    def speaking(*given):
        os.write(2, b"said meanwhile\n")
        return make(*given)

    monkeypatch.setattr(lib, "llama_sampler_init_grammar", speaking)
    Sampler(models("chatml"), Sampling(), 'root ::= "a"').close()
    for bad in ('root ::= "secret', 'root ::= root "secret"', 'start ::= "secret"'):
        with pytest.raises(InputError):
            Sampler(models("chatml"), Sampling(), bad)
    assert capfd.readouterr().err == "said meanwhile\n" * 3
