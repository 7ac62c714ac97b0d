"""Candidates are scored by the server itself, by its log-probabilities, or by samples."""

from __future__ import annotations

import math

import pytest
from fake_server import complete_answer, stream_answer

from llmcli.backends.base import run_requests
from llmcli.backends.remote.candidate_scoring import TokenAlternatives, candidate_probabilities, match_candidate
from llmcli.errors.incomplete_results import NoLabelAnswered
from llmcli.types import (
    CandidateScores,
    FinishReason,
    Message,
    Request,
    Role,
    Sampling,
    Score,
)

LABELS = ("positive", "neutral", "negative")


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, f"text {name}"),), **fields)


def logprobs(*positions: dict[str, float]):
    """Answer the first token of each position, with these alternatives and their probabilities."""
    content = [
        {
            "token": next(iter(position)),
            "logprob": math.log(next(iter(position.values()))),
            "top_logprobs": [{"token": token, "logprob": math.log(chance)} for token, chance in position.items()],
        }
        for position in positions
    ]
    return complete_answer(
        {"content": "".join(next(iter(position)) for position in positions)}, logprobs={"content": content}
    )


def scored(backend, **fields):
    """Return the scores of one request, and its end."""
    events = list(run_requests(backend, [request(candidates=LABELS, **fields)]))
    return next((event for event in events if isinstance(event, CandidateScores)), None), events[-1]


def test_a_server_of_ours_scores_itself(server, backend):
    """With /score and all tokens of each candidate."""
    server.models[0]["owned_by"] = "llmcli"
    answer = {"scores": [{"candidate": name, "logprob": -1.5, "tokens": 2} for name in LABELS]}
    server.paths["/v1/score"] = lambda handler, _body: handler.give(200, answer)
    found, _ = scored(backend)
    assert found.method == "score" and found.scores[0] == Score(LABELS[0], -1.5, 2)
    assert server.asked[-1].body["candidates"] == list(LABELS) and server.chats() == []


def test_without_that_path_the_first_tokens_are_used(server, backend):
    """Also for an llm server behind a proxy that does not pass the path on."""
    server.models[0]["owned_by"] = "llmcli"
    server.usual = logprobs({"positive": 0.6, "Neg": 0.3, "The": 0.1})
    found, ended = scored(backend)
    chances = {score.candidate: math.exp(score.logprob) for score in found.scores}
    assert found.method == "logprobs" and ended.reason is FinishReason.STOP and ended.usage.prompt_tokens == 7
    assert chances == pytest.approx({"positive": 0.6, "neutral": 1e-6, "negative": 0.3})


@pytest.mark.parametrize("tells", [False, True])
def test_without_log_probabilities_answers_are_counted(server, backend, tells):
    """If the field is refused or ignored, or if the first tokens begin no label."""
    answers = ["positive", "Positive.", "It is negative", "positive or negative", "**positive**"]
    if not tells:
        server.fields_refused = {"logprobs"}
    samples = iter(answers)
    server.usual = lambda handler, body: (
        stream_answer(next(samples)) if body.get("stream") else logprobs({"The": 0.9, "A": 0.1})
    )(handler, body)
    found, _ = scored(backend, sampling=Sampling(seed=3))
    counts = {score.candidate: math.exp(score.logprob) * (5 + 1.5) - 0.5 for score in found.scores}
    assert found.method == "samples" and counts == pytest.approx({"positive": 4, "neutral": 0, "negative": 1})
    drawn = [body for body in server.chats() if body.get("stream")][-5:]
    assert [body["seed"] for body in drawn] == [3, 4, 5, 6, 7] and {body["temperature"] for body in drawn} == {1.0}


def test_answers_without_a_label_are_an_error(server, backend):
    """No label is invented. The request was accepted, so the error quotes the first answer."""
    server.usual = stream_answer("I cannot\nsay")
    found, ended = scored(backend)
    assert found is None and isinstance(ended.error, NoLabelAnswered) and ended.error.detail == "I cannot say"


def test_a_token_that_begins_several_labels_is_followed():
    """To the next position if it was sampled; otherwise the labels share it."""
    positions = [
        TokenAlternatives("ne", (("ne", 0.8), ("positive", 0.2))),
        TokenAlternatives("gative", (("gative", 0.75), ("utral", 0.25))),
    ]
    assert candidate_probabilities(LABELS, positions) == pytest.approx(
        {"positive": 0.2, "neutral": 0.2, "negative": 0.6}
    )
    assert candidate_probabilities(LABELS, positions[:1]) == pytest.approx(
        {"positive": 0.2, "neutral": 0.4, "negative": 0.4}
    )


def test_blanks_and_quotes_before_a_label_do_not_matter():
    """A position without visible characters is followed too."""
    positions = [TokenAlternatives(" ", ((" ", 1.0),)), TokenAlternatives('"Pos', (('"Pos', 0.9), ("neutral", 0.1)))]
    assert candidate_probabilities(LABELS, positions) == pytest.approx(
        {"positive": 0.9, "neutral": 0.1, "negative": 0.0}
    )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("negative", "negative"),
        ('"Neutral."', "neutral"),
        ("It is positive!", "positive"),
        ("positive, or negative?", "positive"),
        ("either positive or negative", None),
        ("", None),
    ],
)
def test_the_label_of_an_answer(said, meant):
    """The label that it begins with, or the only label that it contains."""
    assert match_candidate(said, LABELS) == meant
