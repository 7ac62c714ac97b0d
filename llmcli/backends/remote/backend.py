"""A server elsewhere as a backend."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmcli.backends.remote import body, structured
from llmcli.backends.remote.call import Call
from llmcli.backends.remote.client import Client
from llmcli.backends.remote.job import RemoteJob
from llmcli.backends.remote.keys import Key
from llmcli.backends.remote.known import Known
from llmcli.backends.remote.proxies import Proxy
from llmcli.backends.remote.scoring import Scorer
from llmcli.backends.remote.speaker import Patience, Speaker
from llmcli.errors import LlmError, Refused, TryAgain, UsageError
from llmcli.interrupt import Interrupt
from llmcli.servers import Server
from llmcli.types import BackendInfo, Event, Finished, Request, Scores, Usage, Work

PATIENCE = Patience()
CONTEXT = 8192
"""Tokens of context that a server is taken to have that does not say."""
OLLAMA_CONTEXT = 4096
"""Ollama's own default; it drops without a word what goes beyond."""
_POLL = 0.05
_CONTEXTS = (
    "max_model_len",
    "context_length",
    "context_window",
    "loaded_context_length",
    "max_context_length",
    "n_ctx",
)
_OURS, _LLAMA_CPP, _OLLAMA = "llmcli", "llamacpp", "library"
_ASCII, _MESSAGE, _REQUEST = 3.5, 8, 16
_NEAR = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Model:
    """What the server says about the model: its name, whose server it is, and the context in tokens."""

    name: str
    owner: str = ""
    context: int | None = None


class RemoteBackend:
    """A backend (see ``backends.base``) on a server that speaks OpenAI's protocol."""

    def __init__(
        self,
        server: Server,
        key: Key,
        interrupt: Interrupt,
        *,
        model: str | None = None,
        context: int | None = None,
        proxy: Proxy | None = None,
        cache: Path | None = None,
    ) -> None:
        """Nothing is sent yet. ``model`` and ``context`` go before what ``server`` says; ``cache``: see ``Known``."""
        self.server = server
        self.most = server.concurrency
        self._interrupt = interrupt
        self._wanted = model or server.model
        self._context = context or server.context
        self._cache = cache
        self._client = Client(server, key, proxy)
        self._speaker = Speaker(self._client, key, PATIENCE)
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._known: Known | None = None
        self._scorer: Scorer | None = None

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the server says of its model.

        Raises ``UsageError`` when it has several and none was named, and what asking raises.
        """
        if self._wanted and self._context:
            return BackendInfo(self._wanted, f"{self.server.base_url}#{self._wanted}", self._context)
        model = self._model or self._ask(self._find)
        usual = OLLAMA_CONTEXT if model.owner == _OLLAMA else CONTEXT
        context = self._context or model.context or usual
        return BackendInfo(model.name, f"{self.server.base_url}#{model.name}", context)

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return about how many tokens the prompts have; what is near the context a server of ours counts itself."""
        near = self.info().context // _NEAR
        return [self._count(request) if (size := _estimate(request)) > near else size for request in requests], False

    def open(self) -> RemoteJob:
        """Open a job."""
        return RemoteJob(self)

    def work(self) -> Work:
        """How the server was used: the most requests at once, and what it does not take."""
        limiter, refused = self._speaker.limiter, self._known.refused if self._known else frozenset()
        said = [f"{self.server.label}: requests at once: {limiter.widest} (at most {self.most})"]
        if limiter.limit < self.most:
            said.append(f"{self.server.label} was too busy for so many; now it gets {limiter.limit} at once")
        if refused:
            said.append(f"{self.server.label} refuses these fields, so they are left out: {', '.join(sorted(refused))}")
        return Work(width=limiter.widest or None, choices=tuple(said))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what the user did meanwhile."""
        self._interrupt.check()

    def stream(self, call: Call, request: Request, put: Callable[[Event], None]) -> Finished:
        """Hand on the pieces of an answer and return its end; see ``Speaker.stream``."""
        name, known = self._about(call)
        return self._speaker.stream(call, request, known, lambda: body.chat(request, name, known), put)

    def structured(self, call: Call, request: Request) -> tuple[str, Finished]:
        """Return JSON of the request's schema, or one of its labels; see ``structured.answer``."""
        name, known = self._about(call)
        return structured.answer(self._speaker, call, request, name, known)

    def score(self, call: Call, request: Request) -> tuple[Scores, Usage]:
        """Return the scores of candidates; see ``Scorer.score``."""
        model = self._find(call)
        with self._lock:
            if self._scorer is None:
                known = self._known_of(model.name)
                self._scorer = Scorer(self._speaker, model.name, known, ours=model.owner == _OURS)
        return self._scorer.score(call, request)

    # ---- what is known of the server ----------------------------------------------------------------------------------

    def _about(self, call: Call) -> tuple[str, Known]:
        name = self._wanted or self._find(call).name
        with self._lock:
            return name, self._known_of(name)

    def _known_of(self, name: str) -> Known:
        if self._known is None:
            self._known = Known(self.server.base_url, name, self._cache)
        return self._known

    def _find(self, call: Call) -> _Model:
        """Ask the server once which models it has. Raises as ``info``."""
        with self._lock:
            if self._model is None:
                self._model = self._found(call)
            return self._model

    def _found(self, call: Call) -> _Model:
        try:
            listed = self._speaker.get(call, "/models").get("data")
        except TryAgain:
            raise
        except LlmError:
            if self._wanted is None:
                raise
            return _Model(self._wanted)  # some servers have no such path, or show it to other keys
        entries = {str(entry["id"]): entry for entry in listed or () if isinstance(entry, Mapping) and "id" in entry}
        name = self._wanted or self._only(list(entries))
        entry = entries.get(name, {})
        owner = str(entry.get("owned_by", ""))
        if owner == _LLAMA_CPP:
            return _Model(name, owner, self._llama_cpp(call) or _context_of(entry))
        return _Model(name, owner, _context_of(entry))

    def _only(self, names: list[str]) -> str:
        if not names:
            raise Refused(self.server.label, detail="it says of no model that it has it")
        if len(names) > 1:
            raise UsageError(f"{self.server.label} has several models", detail=f"Name one: -m {' or '.join(names[:9])}")
        return names[0]

    def _llama_cpp(self, call: Call) -> int | None:
        """Return the context that llama-server gives one request, of which its list of models says nothing."""
        try:
            settings = self._speaker.get(call, "/props", root=True).get("default_generation_settings")
        except LlmError:
            return None
        return _context_of(settings) if isinstance(settings, Mapping) else None

    # ---- counting -------------------------------------------------------------------------------------------------

    def _count(self, request: Request) -> int:
        """Return the tokens of a prompt, by the server's own count where it is one of ours."""
        model = self._model or self._ask(self._find)
        if model.owner != _OURS:
            return _estimate(request)

        def ask(call: Call) -> int:
            name, known = self._about(call)
            fields = {"model": name, "messages": body.messages(request)}
            tokens = self._speaker.post(call, "/count", known, lambda: fields).get("tokens")
            return tokens if isinstance(tokens, int) else _estimate(request)

        return self._ask(ask)

    def _ask(self, question: Callable[[Call], T]) -> T:
        """Return the answer to a question that is put in a thread, so that the interrupt is heard meanwhile."""
        call = Call(self._interrupt.deadline)
        answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

        def put() -> None:
            try:
                answers.put((question(call), None))
            except Exception as error:  # noqa: BLE001 (raised in the caller's thread)
                answers.put((None, error))

        threading.Thread(target=put, name="remote", daemon=True).start()
        try:
            while True:
                self._interrupt.check()
                try:
                    answer, error = answers.get(timeout=_POLL)
                except queue.Empty:
                    continue
                if error is not None:
                    self._interrupt.check()
                    raise error
                return answer  # type: ignore[return-value]
        finally:
            call.end()


def _estimate(request: Request) -> int:
    """Return about how many tokens the prompt of a request has, rather too many than too few.

    English has more than 4 characters a token and code some 3; a character of other scripts is a token at most in
    vocabularies of today.
    """
    total = float(_REQUEST)
    for message in request.messages:
        other = sum(not character.isascii() for character in message.content) if not message.content.isascii() else 0
        total += (len(message.content) - other) / _ASCII + other + _MESSAGE
    return int(total)


def _context_of(entry: Mapping[str, Any]) -> int | None:
    """Return the context that an entry of a list of models tells, in whose words ever."""
    for name in _CONTEXTS:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 64:  # noqa: PLR2004
            return value
    return None
