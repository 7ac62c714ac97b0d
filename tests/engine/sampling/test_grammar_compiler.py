"""The grammar that constrains the answer to a request, and the answers that it allows."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from engine.tools import regex_grammar, req

from llmcli.engine.sampling import grammar_compiler
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors.model_errors import BadGrammar

PASSAGE = 'The quick brown fox jumps over the "lazy" dog\\cat / bird.\nIt is  late, étude.'


@pytest.fixture
def matcher(models):
    """Return a function that makes the matcher of a request's fields."""
    tokenizer = Tokenizer(models("chatml"))
    compiler = GrammarCompiler(models("chatml"), tokenizer, None, "")

    def make(**fields):
        return compiler.compile(req("a", **fields))

    make.tokenizer = tokenizer
    return make


@pytest.fixture
def allows(matcher):
    """Return a function that tells whether a text is a whole answer to a request."""

    def whole(text, **fields):
        found = matcher(**fields)
        tokens = matcher.tokenizer.encode(text)
        return all(map(found.accept, tokens)) and matcher.tokenizer.eos in found.allowed_tokens()

    return whole


def test_a_request_without_any_is_free(matcher):
    """It has no matcher."""
    assert matcher() is None


def test_labels_are_each_text_and_no_other(allows):
    """Also where one begins another, or holds what grammars write in another way."""
    labels = ("good", "good so", 'so "so"', "back\\slash é", "two\nlines", "/x/", "<|im_end|>")
    assert all(allows(label, labels=labels) for label in labels)
    assert not any(allows(text, labels=labels) for text in ("", "goo", "good ", "bad"))


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        ("a|bc", ["a", "bc"], ["", "ab", "abc"]),
        ("[0-9]{2}/[0-9]{2}", ["12/34"], ["1/2", "12/345"]),
        (r"[/]\/\\", [r"//" + "\\"], ["/"]),
        ("x\ny", ["x\ny"], ["xy"]),
        (r"\p{Lu}é+", ["Aéé", "Éé"], ["aé"]),
    ],
)
def test_a_regular_expression_is_matched_as_a_whole(allows, pattern, right, wrong):
    """Slashes and line ends in it do not end it."""
    grammar = regex_grammar(pattern)
    assert all(allows(text, grammar=grammar) for text in right)
    assert not any(allows(text, grammar=grammar) for text in wrong)


def test_white_space_between_tokens_is_bounded(allows):
    """At most a blank: not the 500 of them that small models like to write."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for text in ('{"a":1}', '{ "a" : 1 }'):
        assert allows(text, schema=schema)
    for text in ('{  "a":1}', '{"a":\n1}', '{"a":1}\n', ' {"a":1}', '{"a":1' + " " * 500 + "}"):
        assert not allows(text, schema=schema)


SAYINGS = [
    ({"type": "integer", "minimum": -21, "maximum": 205}, ["-21", "0", "205"], ["-22", "206", "007", "1.5"]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, ["0.5", "0.001"], ["0", "0.51", "-0.1"]),
    ({"type": "number", "minimum": -90, "maximum": 9.900000000000006}, ["-90", "9.9", "0.123456789"], ["9.91", "0.1234567891"]),
    ({"type": "number", "minimum": 1 / 3, "maximum": 2 / 3}, ["0.3333334", "0.5"], ["0.3", "0.67", "0.44444444"]),
    ({"type": "number", "minimum": 2e15, "maximum": 1e17}, ["2000000000000001"], ["2000000000000000.5", "1", "200000000000000000"]),
    ({"type": "integer", "multipleOf": 3, "minimum": 0}, ["0", "33"], ["34", "-3"]),
    ({"type": "string", "pattern": "^(ab|c)+$", "maxLength": 3}, ['"ab"', '"abc"'], ['"abab"', '""', '"d"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"éé"', '"a\\nb"'], ['"a"', '"abcd"', '"a\nb"', '"a\tb"']),
    ({"type": "array", "items": {"enum": ["a"]}, "minItems": 1, "maxItems": 2}, ['["a"]', '["a","a"]'], ["[]", '["b"]']),
    ({"prefixItems": [{"type": "integer"}, {"type": "null"}]}, ["[]", "[1, null]"], ["[null]", "[1, null, 2]"]),
    ({"type": "string", "format": "date"}, ['"2024-02-28"'], ['"2024-02-30"', '"x"']),
    ({"enum": ['quo"te', "a\nb", "é"]}, ['"quo\\"te"', '"a\\nb"', '"é"'], ['"e"']),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, ['{"x": 1}'], ["{}", '{"x": "y"}']),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "right", "wrong"), SAYINGS, ids=lambda value: str(value)[:40])
def test_keywords_are_enforced(allows, schema, right, wrong):
    """To the letter of the standard."""
    assert [text for text in right if not allows(text, schema=schema)] == []
    assert [text for text in wrong if allows(text, schema=schema)] == []


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ("", "it is empty"),
        ("start: (", r"found"),
        ('root: "a"', "no start rule"),
        ("start: other", 'unknown name: "other"'),
        ('start: "a" <|im_end|>', r"<\|im_end\|>: control tokens"),
        ("start: <[2]>", "control tokens"),
        ("start: " + "(" * 5000 + '"a"' + ")" * 5000, "nested"),
        ("start: r0\n" + "\n".join(f'r{i}: "x" r{i + 1}' for i in range(5000)) + '\nr5000: "y"', "500 rules"),
        ("x" * (1 << 21), "longer"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_grammar_is_a_bad_input(matcher, capfd, grammar, words):
    """With one line that says why, and nothing on standard error."""
    with pytest.raises(BadGrammar, match=words) as caught:
        matcher(grammar=grammar)
    assert "\n" not in caught.value.detail and len(caught.value.detail) < 250
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("pattern", ["(a|b)*a(a|b){200}", "(a*)*(a*)*b", "((a{1,100}){1,100}){1,100}", "(.*a){30}"])
def test_an_exponential_pattern_is_followed_or_refused_in_bounded_time(matcher, pattern):
    """Llguidance counts its steps: the request ends with an error, and no other one waits for long."""
    started = time.process_time()
    found = matcher(grammar=regex_grammar(pattern))
    (token,) = matcher.tokenizer.encode("a")
    try:
        for _ in range(100):
            found.allowed_tokens()
            assert found.accept(token)
    except BadGrammar as error:
        assert error.subject == "grammar"  # noqa: PT017 (either is right)
    assert time.process_time() - started < 5


def test_nothing_but_the_end_follows_a_complete_answer(matcher):
    """It is known without another evaluation; every token that ends a generation is allowed there."""
    found = matcher(labels=("a",))
    assert not found.is_complete and found.accept(*matcher.tokenizer.encode("a")) and found.is_complete
    assert [matcher.tokenizer.is_eog(int(token)) for token in found.allowed_tokens()] == [True] * len(
        found.allowed_tokens()
    )
    assert not found.accept(*matcher.tokenizer.encode("b"))


def test_drafts_end_where_the_grammar_refuses_a_token(matcher):
    """The matcher stays where it was."""
    found = matcher(labels=("abc",))
    tokens = [token for letter in "abx" for token in matcher.tokenizer.encode(letter)]
    assert found.allowed_prefix(tokens) == tokens[:2] == found.allowed_prefix(tokens)
    assert found.accept(tokens[0])


def test_the_vocabulary_is_read_once(models, monkeypatch):
    """However many requests come at the same time."""
    reads = []
    load = grammar_compiler.load_or_read_vocabulary
    monkeypatch.setattr(grammar_compiler, "load_or_read_vocabulary", lambda *given: (reads.append(1), load(*given))[1])
    compiler = GrammarCompiler(models("chatml"), Tokenizer(models("chatml")), None, "")
    threads = [threading.Thread(target=compiler.compile, args=[req("a", labels=("x", "y"))]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == [1]


def test_a_matcher_that_is_full_is_replaced(matcher):
    """What was said so far stays; one that is full again at once is an error."""
    found = matcher(labels=("abc",))
    letters = [matcher.tokenizer.encode(letter)[0] for letter in "abc"]
    found.accept(letters[0])

    class Full:
        def is_error(self):
            return True

        def get_error(self):
            return "lexer error: too many expressions constructed"

        def try_consume_tokens(self, _tokens):
            return 0

    found._matcher = Full()
    assert found.accept(letters[1]) and found.accept(letters[2]) and found.is_complete
    found = matcher(labels=("abc",))
    found._matcher = Full()
    with pytest.raises(BadGrammar, match="too many expressions"):
        found.accept(letters[0])


def test_llguidance_is_imported_by_constrained_requests_only():
    """Its import takes 50 ms of a command that needs the engine."""
    code = "import sys, llmcli.engine.engine, llmcli.runtime.backend_factory; print('llguidance' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
