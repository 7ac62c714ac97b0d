"""Which of some candidates a model means, on a server: by its scores, by the likeliest first tokens, or by counting.

Only servers of ours score whole candidates. Of others the log-probabilities of the first tokens of an answer tell about as
much, since a label is a token or two; where there are none either, some answers are drawn and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcli.backends.remote import body
from llmcli.backends.remote.call import Call
from llmcli.backends.remote.known import Known
from llmcli.backends.remote.reading import usage_of
from llmcli.backends.remote.refusals import BadRequest
from llmcli.backends.remote.speaker import CHAT, Speaker
from llmcli.errors import Refused, RemoteError
from llmcli.types import Request, Score, Scores, Usage

_TOKENS = 4
"""Tokens of an answer that are looked at: labels that begin alike are told apart by a later one."""
_TOP = 20
"""Most alternatives that OpenAI tells."""
_ENOUGH = 0.05
"""Share of the first token that has to begin a candidate, else the model is about to say something else."""
_LEAST = 1e-6
SAMPLES = 5
_SAMPLE_TOKENS = 512  # of a model that thinks first
_AROUND = " \t\r\n\"'`*#-.:([{"


@dataclass(frozen=True)
class Alternatives:
    """The token at one place of an answer, and the likeliest ones there with their probabilities."""

    token: str
    top: tuple[tuple[str, float], ...]


class Scorer:
    """Scores requests; remembers what the server cannot do. ``ours``: it has /score."""

    def __init__(self, speaker: Speaker, model: str, known: Known, *, ours: bool) -> None:
        self._speaker = speaker
        self._model = model
        self._known = known
        self._ours = ours
        self._logprobs = True

    def score(self, call: Call, request: Request) -> tuple[Scores, Usage]:
        """Return the scores of the request's candidates, and what they took. Raises as ``Client.open``."""
        if self._ours:
            try:
                return self._by_path(call, request)
            except BadRequest:
                raise
            except Refused:  # no such path: something between here and there does not pass it on
                self._ours = False
        if self._logprobs and not {"logprobs", "top_logprobs"} & self._known.refused:
            found, usage = self._by_logprobs(call, request)
            if found is not None:
                return found, usage
        return self._by_samples(call, request)

    def _by_path(self, call: Call, request: Request) -> tuple[Scores, Usage]:
        fields = {"model": self._model, "messages": body.messages(request), "candidates": list(request.candidates)}
        answer = self._speaker.post(call, "/score", self._known, lambda: fields)
        try:
            given = {str(each["candidate"]): (float(each["logprob"]), int(each["tokens"])) for each in answer["scores"]}
            scores = tuple(Score(candidate, *given[candidate]) for candidate in request.candidates)
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(self._speaker.server.label, detail="its answer has no scores") from error
        return Scores(request.id, scores, "score"), usage_of(answer)

    # ---- by logprobs ----------------------------------------------------------------------------------------------

    def _by_logprobs(self, call: Call, request: Request) -> tuple[Scores | None, Usage]:
        plain = replace(request, sampling=replace(request.sampling, temperature=0.0), max_tokens=_TOKENS, logprobs=_TOP)

        def make() -> Mapping[str, Any]:
            return {**body.chat(plain, self._model, self._known), "stream": None, "stream_options": None}

        answer = self._speaker.post(call, CHAT, self._known, make)
        places = alternatives(answer)
        if not places:
            self._logprobs = False
            return None, usage_of(answer)
        masses = shares(request.candidates, places)
        if sum(masses.values()) < _ENOUGH:
            return None, usage_of(answer)
        scores = tuple(Score(name, math.log(max(mass, _LEAST)), 1) for name, mass in masses.items())
        return Scores(request.id, scores, "logprobs"), usage_of(answer)

    # ---- by samples -----------------------------------------------------------------------------------------------

    def _by_samples(self, call: Call, request: Request) -> tuple[Scores, Usage]:
        seed, usage = request.sampling.seed, Usage()
        counts = dict.fromkeys(request.candidates, 0)
        for number in range(SAMPLES):
            sampling = replace(
                request.sampling, temperature=1.0, seed=None if seed is None else (seed + number) % 2**32
            )
            sample = replace(request, sampling=sampling, max_tokens=_SAMPLE_TOKENS, logprobs=None)
            text, finished = self._speaker.text(
                call,
                sample,
                self._known,
                lambda sample=sample: body.chat(sample, self._model, self._known),  # type: ignore[misc]
            )
            usage += finished.usage
            meant = match(text, request.candidates)
            if meant is not None:
                counts[meant] += 1
        if not any(counts.values()):
            labels = ", ".join(request.candidates)
            raise Refused(self._speaker.server.label, detail=f"its answers are none of {labels}")
        total = sum(counts.values()) + len(counts) / 2
        scores = tuple(Score(name, math.log((count + 0.5) / total), 1) for name, count in counts.items())
        return Scores(request.id, scores, "samples"), usage


def alternatives(answer: Mapping[str, Any]) -> list[Alternatives]:
    """Return the places of an answer whose alternatives the server tells; [] where it tells none, or nonsense."""
    try:
        content = answer["choices"][0]["logprobs"]["content"]
        return [
            Alternatives(
                str(place["token"]),
                tuple(
                    (str(other["token"]), math.exp(min(0.0, float(other["logprob"]))))
                    for other in place["top_logprobs"]
                ),
            )
            for place in content
            if place["top_logprobs"]
        ]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def shares(candidates: Sequence[str], places: Sequence[Alternatives]) -> dict[str, float]:
    """Return the probability that an answer begins with each candidate, as far as the alternatives tell.

    A token that several candidates begin with is followed into the next place when it is the one that was taken there;
    else they share it.
    """
    masses = dict.fromkeys(candidates, 0.0)

    def walk(index: int, before: str, weight: float) -> None:
        place = places[index]
        for token, chance in place.top:
            begun = (before + token).lower().lstrip(_AROUND)
            fits = [name for name in candidates if begun and _begins(begun, name.strip().lower())]
            taken = token == place.token and index + 1 < len(places)
            if taken and (not begun or len(fits) > 1):
                walk(index + 1, before + token, weight * chance)
            else:
                for name in fits:
                    masses[name] += weight * chance / len(fits)

    walk(0, "", 1.0)
    return masses


def _begins(begun: str, name: str) -> bool:
    """Whether an answer that has ``begun`` so may be, or is, the label ``name``."""
    return name.startswith(begun.rstrip()) or begun.startswith(name)


def match(text: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that an answer means: what it begins with, else the only one that it names."""
    said = text.lower().strip(_AROUND)
    first = [name for name in candidates if said.startswith(name.strip().lower())]
    named = first or [name for name in candidates if name.strip().lower() in said]
    longest = max(named, key=len, default=None)
    return longest if first or len(named) == 1 else None
