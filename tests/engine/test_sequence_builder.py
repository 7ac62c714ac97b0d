"""A tokenized request becomes a sequence, or an error."""

from __future__ import annotations

import pytest

from engine.tools import ListSink, req
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.sequence_builder import SequenceBuilder, check_session
from llmcli.engine.sequences.generation_sequence import GenerationSequence
from llmcli.engine.sequences.scoring_sequence import ScoringSequence
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import ContextOverflow, UsageError
from llmcli.errors.model_errors import BadGrammar

LIMIT = 20


class FixedHints:
    """Returns the same lengths for every prompt."""

    def public_prefix_length(self, _request, _tokens) -> int:
        return 3

    def turn_prefix_length(self, _request, _tokens) -> int:
        return 5

    def document_prefix_length(self, _request, _tokens) -> int:
        return 7


class FailingHints(FixedHints):
    def public_prefix_length(self, _request, _tokens) -> int:
        raise MemoryError


@pytest.fixture
def build(models):
    """Return a function that builds the sequence of a request."""

    def make(request, *token_lists, name="llama", hints=None, keeps_documents=False):
        tokenizer = Tokenizer(models(name))
        template = ChatTemplate(models(name).chat_template(), tokenizer)
        compiler = GrammarCompiler(models(name), tokenizer, None, "")
        builder = SequenceBuilder(
            models(name),
            template,
            tokenizer,
            LIMIT,
            prefix_hints=hints,
            grammar_compiler=compiler,
            keeps_documents=keeps_documents,
        )
        sequence = builder.build(request, ListSink(), list(token_lists), inside=False)
        sequence.release()
        return sequence

    return make


@pytest.mark.parametrize("session", ["", "x", "A" * 32, "0" * 31, "0" * 32 + "/"])
def test_a_session_is_32_hexadecimal_digits(session):
    """Nothing else may become a part of a file's name."""
    with pytest.raises(UsageError):
        check_session(session)
    check_session(None)
    check_session("0123456789abcdef" * 2)


def test_candidates_are_scored_and_everything_else_generates(build):
    """The class determines what the sequence does."""
    assert isinstance(build(req("a"), [5, 6, 7]), GenerationSequence)
    scored = build(req("s", candidates=("x", "y")), [5, 6], [5, 6, 8], [5, 6, 9])
    assert isinstance(scored, ScoringSequence) and scored.tokens == [5, 6]


def test_impossible_requests_are_refused(build):
    """Empty prompts, empty candidates, and requests longer than the context."""
    with pytest.raises(UsageError):
        build(req("a"), [])
    with pytest.raises(UsageError):
        build(req("s", candidates=("x", "")), [5, 6], [5, 6, 8], [5, 6])
    with pytest.raises(ContextOverflow) as caught:
        build(req("a"), list(range(3, 3 + LIMIT)))
    assert (caught.value.tokens, caught.value.context) == (LIMIT, LIMIT)
    with pytest.raises(ContextOverflow):
        build(req("s", candidates=("x",)), [5], [5, *range(3, 3 + LIMIT)])
    with pytest.raises(BadGrammar):
        build(req("g", grammar="start: ("), [5, 6])


@pytest.mark.parametrize(("name", "turn"), [("llama", 0), ("gemma3", 5), ("mamba", 5)])
def test_prefix_lengths_come_from_the_hints(build, name, turn):
    """A turn's prefix is needed only if the memory cannot be truncated; without hints both lengths are 0."""
    request = req("a", public_prefix=True, session="0" * 32)
    sequence = build(request, [5, 6, 7], name=name, hints=FixedHints())
    assert (sequence.public_prefix_length, sequence.turn_prefix_length) == (3, turn)
    sequence = build(request, [5, 6, 7], name=name)
    assert (sequence.public_prefix_length, sequence.turn_prefix_length) == (0, 0)


def test_an_error_frees_the_sampler(build, monkeypatch):
    """A sequence that is not returned leaks nothing."""
    released = []
    monkeypatch.setattr(GenerationSequence, "release", lambda _sequence: released.append("once"))
    with pytest.raises(MemoryError):
        build(req("a", public_prefix=True), [5, 6, 7], hints=FailingHints())
    assert released == ["once"]


def test_the_length_of_a_document_matters_where_documents_are_kept(build):
    """An engine of one command looks for none."""
    request = req("a", document_chars=4)
    assert build(request, [5, 6, 7], hints=FixedHints()).document_prefix_length == 0
    assert build(request, [5, 6, 7], hints=FixedHints(), keeps_documents=True).document_prefix_length == 7
    assert build(request, [5, 6, 7], keeps_documents=True).document_prefix_length == 0
