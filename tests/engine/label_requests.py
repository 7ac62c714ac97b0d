"""Requests as labelling makes them, and the bits that they get."""

from __future__ import annotations

import random
from dataclasses import dataclass

import tiny_models

from llmcli.backends.base import Backend
from llmcli.types import CandidateScores, Finished, FinishReason, HiddenStates, Message, Request, Role

SHARED = "the world is in you and it is yes and no " * 3


@dataclass(frozen=True)
class Answer:
    """The bits that a request got."""

    scores: tuple[tuple[float, ...], ...]
    states: tuple[bytes, bytes] | None


def labelling(count: int = 24) -> list[Request]:
    """Return requests as labelling makes them: a shared prefix, texts of all lengths, labels of one or more tokens.

    Half of the hidden states are those of the last layer.
    """
    source = random.Random(1)
    requests = []
    for number in range(count):
        text = " ".join(source.choices(tiny_models.WORDS, k=source.randint(1, 40)))
        prompt = SHARED + text if number % 6 else text
        if number == count - 1:
            prompt = SHARED * 12 + text
        kind = number % 3
        requests.append(
            Request(
                str(number),
                (Message(Role.USER, SHARED), Message(Role.ASSISTANT, "yes"), Message(Role.USER, prompt)),
                candidates=() if kind == 2 else (("yes", "no"), ("positive in it", "no", "yes and"))[number % 2],
                hidden_states=kind > 0,
                state_layers=(1,) if kind and number // 3 % 2 else (),
                public_prefix=True,
            )
        )
    return requests


def run(engine: Backend, requests: list[Request]) -> dict[str, Answer]:
    """Send the requests as one job."""
    scores: dict[str, tuple] = {}
    states: dict[str, tuple[bytes, bytes]] = {}
    with engine.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        for event in job:
            if isinstance(event, CandidateScores):
                scores[event.id] = tuple((score.logprob, score.tokens) for score in event.scores)
            elif isinstance(event, HiddenStates):
                states[event.id] = event.mean, event.last
            elif isinstance(event, Finished):
                assert event.reason is FinishReason.STOP, event.error
    found = {each.id: Answer(scores.get(each.id, ()), states.get(each.id)) for each in requests}
    assert all(each.scores or each.states for each in found.values())
    return found
