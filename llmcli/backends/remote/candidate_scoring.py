"""Scores for candidates on a server: its own scores, the top first tokens, or counted samples.

Only ``llm serve`` scores whole candidates. Elsewhere the log-probabilities of an answer's first tokens suffice, since a
label is one or two tokens; without them, answers are sampled and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from llmcli.backends.remote.chat_client import ChatClient, ServerCapabilities, join_text
from llmcli.backends.remote.label_server import score_request
from llmcli.backends.remote.protocols.wire_protocol import OWNER_LLMCLI, ProtocolRequest, ServerModel
from llmcli.backends.remote.transport.error_mapping import shorten_message
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.errors import RequestRejected
from llmcli.errors.incomplete_results import NoLabelAnswered
from llmcli.errors.network_errors import BadRequest
from llmcli.fast_dataclass import frozen, replace
from llmcli.openai_api.scoring import SCORE_PATH
from llmcli.types import CandidateScores, Event, Finished, Request, Score, TokenLogprobs, Usage

_MAX_LABEL_TOKENS = 4
"""Tokens of an answer that are considered: labels that begin alike differ in a later one."""
_TOP_LOGPROBS = 20
"""Most alternatives that OpenAI's API returns."""
_MIN_CANDIDATE_PROBABILITY = 0.05
"""Minimum probability that the first token begins a candidate; below it, the model is about to say something else."""
_MIN_PROBABILITY = 1e-6
_LOGPROBS_FIELDS = frozenset({"logprobs", "top_logprobs"})
"""What the protocols call the fields without which an answer has no log-probabilities."""
NUM_SAMPLES = 5
_MAX_SAMPLE_TOKENS = 512  # enough for a model that thinks first
_IGNORED_CHARACTERS = " \t\r\n\"'`*#-.:([{"


@frozen
class TokenAlternatives:
    """The token at one position of an answer, and the top tokens there with their probabilities."""

    token: str
    top: tuple[tuple[str, float], ...]


class CandidateScorer:
    """Scores requests; remembers what the server does not support."""

    def __init__(self, chat_client: ChatClient, model: ServerModel, capabilities: ServerCapabilities) -> None:
        self._chat_client = chat_client
        self._model = model
        self._capabilities = capabilities
        ours = model.owner == OWNER_LLMCLI
        self._has_score_endpoint = ours and SCORE_PATH not in capabilities.refused_fields
        self._has_logprobs = chat_client.protocol.offers_logprobs

    def score_candidates(self, call: RemoteCall, request: Request) -> tuple[CandidateScores, Usage]:
        """Return the scores of the request's candidates, and the usage. Raises as ``HttpClient.open_response``."""
        if self._has_score_endpoint:
            try:
                return self._score_by_endpoint(call, request)
            except BadRequest:
                raise
            except RequestRejected:  # no such path: a proxy does not forward it
                self._has_score_endpoint = False
                self._capabilities.add_refused_path(SCORE_PATH)
        usage = Usage()
        if self._has_logprobs and not _LOGPROBS_FIELDS & self._capabilities.refused_fields:
            found, usage = self._score_by_logprobs(call, request)
            if found is not None:
                return found, usage
        found, sampled = self._score_by_sampling(call, request)
        return found, usage + sampled

    def _score_by_endpoint(self, call: RemoteCall, request: Request) -> tuple[CandidateScores, Usage]:
        (scores,), usage = score_request(self._chat_client, call, request, self._model, labels=False)
        assert isinstance(scores, CandidateScores)
        return replace(scores, method="score"), usage

    # ---- by logprobs ----------------------------------------------------------------------------------------------

    def _score_by_logprobs(self, call: RemoteCall, request: Request) -> tuple[CandidateScores | None, Usage]:
        plain = replace(
            request,
            sampling=replace(request.sampling, temperature=0.0),
            max_tokens=_MAX_LABEL_TOKENS,
            logprobs=_TOP_LOGPROBS,
        )

        events, finished = self._collect_events(call, plain, stream=False)
        positions = collect_alternatives(events)
        if not positions:
            self._has_logprobs = False
            return None, finished.usage
        masses = candidate_probabilities(request.candidates, positions)
        if sum(masses.values()) < _MIN_CANDIDATE_PROBABILITY:
            return None, finished.usage
        scores = tuple(Score(name, math.log(max(mass, _MIN_PROBABILITY)), 1) for name, mass in masses.items())
        return CandidateScores(request.id, scores, "logprobs"), finished.usage

    def _collect_events(self, call: RemoteCall, request: Request, *, stream: bool) -> tuple[list[Event], Finished]:
        def build() -> ProtocolRequest:
            refused = self._capabilities.refused_fields
            return self._chat_client.protocol.build_request(request, self._model.name, refused, stream=stream)

        return self._chat_client.collect_events(call, request, self._capabilities, build)

    # ---- by samples -----------------------------------------------------------------------------------------------

    def _score_by_sampling(self, call: RemoteCall, request: Request) -> tuple[CandidateScores, Usage]:
        seed, usage = request.sampling.seed, Usage()
        counts = dict.fromkeys(request.candidates, 0)
        first_answer = ""
        for number in range(NUM_SAMPLES):
            sampling = replace(
                request.sampling, temperature=1.0, seed=None if seed is None else (seed + number) % 2**32
            )
            sample = replace(request, sampling=sampling, max_tokens=_MAX_SAMPLE_TOKENS, logprobs=None)
            events, finished = self._collect_events(call, sample, stream=True)
            text = join_text(events)
            usage += finished.usage
            first_answer = first_answer or text
            meant = match_candidate(text, request.candidates)
            if meant is not None:
                counts[meant] += 1
        if not any(counts.values()):
            raise NoLabelAnswered(self._chat_client.server.label, detail=shorten_message(first_answer))
        total = sum(counts.values()) + len(counts) / 2
        scores = tuple(Score(name, math.log((count + 0.5) / total), 1) for name, count in counts.items())
        return CandidateScores(request.id, scores, "samples"), usage


def collect_alternatives(events: Iterable[Event]) -> list[TokenAlternatives]:
    """Return the positions of an answer that have top tokens; [] where there are none."""
    return [
        TokenAlternatives(
            event.token.decode("utf-8", "replace"),
            tuple((token.decode("utf-8", "replace"), math.exp(min(0.0, logprob))) for token, logprob in event.top),
        )
        for event in events
        if isinstance(event, TokenLogprobs) and event.top
    ]


def candidate_probabilities(candidates: Sequence[str], positions: Sequence[TokenAlternatives]) -> dict[str, float]:
    """Return the probability that an answer begins with each candidate, as far as the alternatives tell.

    Where several candidates begin with a token, the next position decides if that token was sampled; else they share
    its probability.
    """
    masses = dict.fromkeys(candidates, 0.0)

    def walk(index: int, before: str, weight: float) -> None:
        position = positions[index]
        for token, chance in position.top:
            begun = (before + token).lower().lstrip(_IGNORED_CHARACTERS)
            fits = [name for name in candidates if begun and _may_be_label(begun, name.strip().lower())]
            taken = token == position.token and index + 1 < len(positions)
            if taken and (not begun or len(fits) > 1):
                walk(index + 1, before + token, weight * chance)
            else:
                for name in fits:
                    masses[name] += weight * chance / len(fits)

    walk(0, "", 1.0)
    return masses


def _may_be_label(begun: str, name: str) -> bool:
    """Return whether an answer that starts with ``begun`` may be the label ``name``."""
    return name.startswith(begun.rstrip()) or begun.startswith(name)


def match_candidate(text: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that an answer means: the one it begins with, else the only one it mentions."""
    said = text.lower().strip(_IGNORED_CHARACTERS)
    first = [name for name in candidates if said.startswith(name.strip().lower())]
    named = first or [name for name in candidates if name.strip().lower() in said]
    longest = max(named, key=len, default=None)
    return longest if first or len(named) == 1 else None
