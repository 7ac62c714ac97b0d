"""Decide whether private values are replaced for a server, and build the backend that replaces them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend, run_requests
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import InternalError
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.redaction.normalization import normalize
from llmcli.settings import Settings
from llmcli.types import AnswerRestarted, Finished, FinishReason, Request, Sampling, TextDelta

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.redaction.redactor import NameFinder, Redactor


def choose_mode(settings: Settings, server: ServerConfig) -> tuple[str, str]:
    """Return "on", "off" or "names" for a server, and the origin of that choice.

    The flag and the environment override ``redact`` of the server, which overrides the setting. By default,
    values are replaced for hosts that are neither this machine nor trusted.
    """
    from llmcli.redaction.own_patterns import is_trusted

    mode, origin = settings["redact"], settings.origin("redact")
    if mode != "auto" and origin.startswith(("--", "LLMCLI_")):
        return mode, origin
    if server.redact is not None:
        return server.redact, f"{server.name}.redact"
    if mode != "auto":
        return mode, origin
    if server.is_loopback:
        return "off", "the server runs on this machine"
    hosts = [member.host for member in server.members if not member.is_loopback]
    if all(is_trusted(host, settings["trusted_hosts"]) for host in hosts):
        return "off", f"trusted_hosts has {', '.join(hosts)}"
    return "on", "default for servers elsewhere"


def build_redactor(settings: Settings, find_names: NameFinder | None = None) -> Redactor:
    """Return the redactor for the settings."""
    from llmcli.redaction.redactor import Redactor

    return Redactor(
        settings["redact.kinds"],
        patterns=settings["redact.patterns"],
        words=settings["redact.words"],
        find_names=find_names,
    )


def build_redacting_backend(
    settings: Settings, prompts: PromptLibrary, backend: Backend, name_backend: Backend | None
) -> Backend:
    """Wrap ``backend`` so that it gets no private values; ``name_backend`` finds names of people, None leaves them."""
    from llmcli.backends.redacting_backend import RedactingBackend

    find_names = None if name_backend is None else LocalNameFinder(name_backend, prompts)
    owned = () if name_backend is None else (name_backend,)
    return RedactingBackend(backend, build_redactor(settings, find_names), owned)


def name_model(settings: Settings, models: ModelLibrary) -> str | None:
    """Return the model that finds names, None for the default. -m is ignored: it names a model of the server."""
    if settings["redact.model"] is not None:
        return str(settings["redact.model"])
    if settings.origin("model").startswith("--"):
        from llmcli.models.library.resolver import STARTER_MODEL

        return models.defaults.stored_default() or STARTER_MODEL
    return None


_PROMPT = "redact.names"
_MAX_PIECE_CHARS = 600
_MAX_ANSWER_TOKENS = 160
_PIECE = re.compile(rf"[\s\S]{{1,{_MAX_PIECE_CHARS}}}(?:(?<=[.!?\n])(?=\s)|(?<=\s)|\Z)|[\s\S]{{1,{_MAX_PIECE_CHARS}}}")
_MAX_REMEMBERED_PIECES = 10_000
_MIN_NAME_CHARS = 2
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*\.?")


class LocalNameFinder:
    """Asks ``backend`` for the names in each piece of a text; the answer for a piece is cached."""

    def __init__(self, backend: Backend, prompts: PromptLibrary) -> None:
        self._backend = backend
        self._prompt = prompts.get(_PROMPT)
        self._known: dict[str, list[str]] = {}

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Return the names in the texts as they are written there. Raises what the backend raises."""
        pieces = list(dict.fromkeys(piece for text in texts for piece in split_pieces(text)))
        unknown = [piece for piece in pieces if piece not in self._known]
        if len(self._known) + len(unknown) > _MAX_REMEMBERED_PIECES:
            self._known.clear()
            unknown = pieces
        for piece, answer in zip(unknown, self._ask(unknown), strict=True):
            self._known[piece] = parse_names(answer, piece)
        return list(dict.fromkeys(name for piece in pieces for name in self._known[piece]))

    def _ask(self, pieces: Sequence[str]) -> list[str]:
        answers = dict.fromkeys(map(str, range(len(pieces))), "")
        requests = [_make_request(self._prompt, str(number), piece) for number, piece in enumerate(pieces)]
        for event in run_requests(self._backend, requests) if requests else ():
            if isinstance(event, TextDelta):
                answers[event.id] += event.text
            elif isinstance(event, AnswerRestarted):
                answers[event.id] = ""
            elif isinstance(event, Finished) and event.reason in {FinishReason.ERROR, FinishReason.CANCELLED}:
                raise event.error or InternalError("names", detail="the search for names was cancelled")
        return list(answers.values())


def split_pieces(text: str) -> Iterator[str]:
    """Yield the pieces of a text that may contain names: those with a letter that is not lower case."""
    for match in _PIECE.finditer(text):
        piece = match.group().strip()
        if any(character.isalpha() and not character.islower() for character in piece):
            yield piece


def _make_request(prompt: Prompt, request_id: str, piece: str) -> Request:
    return Request(
        request_id,
        prompt.render({"text": piece}),
        sampling=Sampling(temperature=0.0),
        max_tokens=prompt.options.max_tokens or _MAX_ANSWER_TOKENS,
        schema=prompt.schema,
        gathered=True,
        public_prefix=prompt.public_prefix,
    )


def parse_names(answer: str, text: str) -> list[str]:
    """Return the names of an answer that occur in the text, in any case and spacing; the answer may be truncated."""
    try:
        found = json.loads(answer).get("names", [])
    except (ValueError, AttributeError):
        found = re.findall(r'"([^"\\]{2,60})"', answer)[1:]  # the first one is the key
    names = [name.strip() for name in found if isinstance(name, str)]
    forms = [_plain(form.text) for form in normalize(text)]
    return [name for name in dict.fromkeys(names) if _may_be_name(name) and any(_plain(name) in form for form in forms)]


def _plain(text: str) -> str:
    """Return a text in lower case with single blanks: a model writes a name on one line and in its usual case."""
    return " ".join(text.split()).casefold()


def _may_be_name(name: str) -> bool:
    """Return whether a text may be a name: its first word does not begin with a lower-case letter."""
    words = _WORD.findall(name)
    return len(name) >= _MIN_NAME_CHARS and bool(words) and not words[0][0].islower() and not name.isdigit()
