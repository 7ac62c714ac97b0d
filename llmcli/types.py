"""The data that packages exchange: frozen dataclasses, no behaviour beyond tiny conversions.

Two streams: a backend yields ``Event``s about ``Request``s; a task yields ``TaskEvent``s about documents.
"""

from __future__ import annotations

import array
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from llmcli.fast_dataclass import asdict, field, frozen


class Role(StrEnum):
    """The author of a message. An enumeration, so that no input can invent a role in a chat template."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@frozen
class ToolCall:
    """A model's request to call a tool; ``id`` identifies it in the result, ``signature`` goes back to its server."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    signature: str = ""


@frozen
class Message:
    """One turn of a conversation; ``content`` is untrusted plain text.

    ``tool_calls``: the assistant's calls beside the text. ``tool_call_id``: the call that a tool's turn answers.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Priority(StrEnum):
    """Interactive requests are admitted before bulk ones."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class RepetitionPolicy(StrEnum):
    """Which repetitions end an answer."""

    OFF = "off"
    ANSWER = "answer"
    """A text of any kind: code, tables and lists have equal lines."""
    SUMMARY = "summary"
    """Prose that must be short."""


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    LENGTH = "length"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    ERROR = "error"


@frozen
class Sampling:
    """How the next token is sampled. ``temperature`` 0 is greedy; None disables a filter.

    Ranges: temperature >= 0; top_k >= 1; 0 < top_p <= 1; 0 <= min_p <= 1; repeat_penalty > 0 (1: none); 0 <= seed <
    2**32.
    """

    temperature: float = 0.7
    top_k: int | None = 40
    top_p: float | None = 0.95
    min_p: float | None = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None


@frozen
class Request:
    """One call of a model, which writes a text unless the request has ``candidates``, ``embeds`` or only states.

    ``messages`` go through the model's chat template. ``candidates`` are continuations of the assistant's turn to be
    scored by their log-probabilities. At most one of ``schema``, ``grammar`` and ``labels`` constrains an answer: to
    JSON of the schema, to the language of a Lark grammar, to one of these texts. ``max_tokens`` None:
    until the context is full. ``deadline`` is a ``time.monotonic()`` value. ``reasoning`` False asks the template to
    disable reasoning where it can. ``ignore_eos`` continues to ``max_tokens`` after the end of the answer (for
    measurements).
    ``public_prefix``: the messages before the last one come from a prompt file and are not private, so their evaluated
    state may be kept on disk. ``session``: 32 hexadecimal digits that name a saved conversation, whose evaluated state
    may be kept on disk too. ``document_chars``: the first characters of the last message's content that later requests
    will begin with as well, such as a document before a question; a worker keeps their evaluated state while it runs.
    ``logprobs``: the number of most likely tokens to report with each token's own
    log-probability; None: no report. ``prompt``: a text to continue without the template, instead of ``messages``;
    candidates then continue this text.
    ``tools``: the tools that the model may call, each an object as in OpenAI's protocol. ``gathered``: the consumer
    does not read the text before its end, so it may arrive in one piece (``TaskRun.ask`` sets it). ``progress`` requests ``RequestProgress``
    events. ``carries``: text whose private values the answer must hold, if these are replaced on the way to a server.
    ``hidden_states`` requests ``HiddenStates``; without candidates and ``max_tokens`` nothing is generated then.
    ``state_layers``: the layers after which they are read, at most one less than ``BackendInfo.layers``; none: the last
    one.
    ``repetition``: which repetition of a text ends its answer or its reasoning. ``max_chars``: an answer with more
    characters ends at once, wherever it is generated, since it is of no use. ``embeds``: texts for the embeddings of a
    server, instead of ``messages``, which is answered with ``Embeddings`` of ``dimensions`` numbers each, None for as
    many as the server gives; models on this machine have ``hidden_states``.
    """

    id: str
    messages: tuple[Message, ...]
    candidates: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    labels: tuple[str, ...] = ()
    priority: Priority = Priority.BULK
    deadline: float | None = None
    reasoning: bool = False
    ignore_eos: bool = False
    public_prefix: bool = False
    logprobs: int | None = None
    prompt: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    session: str | None = None
    document_chars: int = 0
    gathered: bool = False
    progress: bool = False
    carries: str = ""
    hidden_states: bool = False
    state_layers: tuple[int, ...] = ()
    repetition: RepetitionPolicy = RepetitionPolicy.OFF
    max_chars: int | None = None
    embeds: tuple[str, ...] = ()
    dimensions: int | None = None

    @property
    def writes_text(self) -> bool:
        """Whether the answer is a text; otherwise it is scores, hidden states or embeddings."""
        return not (self.candidates or self.embeds or self.needs_only_states)

    @property
    def needs_only_states(self) -> bool:
        """Whether hidden states are all that it asks for."""
        return self.hidden_states and not (self.candidates or self.max_tokens)


@frozen
class Usage:
    """Token counts. ``cached_tokens`` were reused; of a draft model's ``draft_tokens`` some were accepted.

    ``is_known`` is false where a server has not reported all tokens; the counts are then those that are known.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    draft_tokens: int = 0
    accepted_draft_tokens: int = 0
    is_known: bool = True

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.draft_tokens + other.draft_tokens,
            self.accepted_draft_tokens + other.accepted_draft_tokens,
            self.is_known and other.is_known,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object; ``is_known`` only where it is false."""
        found = asdict(self)
        return {name: value for name, value in found.items() if name != "is_known" or not value}


UNKNOWN_USAGE = Usage(is_known=False)
"""The usage of a request whose tokens were not reported."""


@frozen
class Timings:
    """Seconds from the submission of a request; the rate is that of the decode phase, None below two tokens."""

    first_token_s: float | None = None
    total_s: float = 0.0
    tokens_per_second: float | None = None


@frozen
class Score:
    """Natural-log probability of one candidate, summed over its ``tokens`` tokens.

    If the request sets ``logprobs``, the engine also reports each token: its log-probability and its length in bytes.
    The first token may be longer than the text by a space before it.
    """

    candidate: str
    logprob: float
    tokens: int
    token_logprobs: tuple[float, ...] = ()
    token_bytes: tuple[int, ...] = ()


@frozen
class TextDelta:
    """A piece of the answer; the pieces of a request concatenate to its final text."""

    id: str
    text: str


@frozen
class ReasoningDelta:
    """A piece of a model's reasoning, never part of the answer."""

    id: str
    text: str


@frozen
class CandidateScores:
    """The scores of a request's candidates, in their order.

    ``method`` says how a remote server computed them: "score" (all tokens of each, as here), "logprobs" (estimated from
    the most likely first tokens of an answer) or "samples" (counted answers); "" on this machine.
    """

    id: str
    scores: tuple[Score, ...]
    method: str = ""


@frozen
class HiddenStates:
    """The states of a prompt, by default the last layer's after the norm: ``mean`` of all tokens, ``last`` of the last.

    Little-endian 32-bit floats, as many as the model is wide. ``layers`` are those of the request, if it names some:
    the states after these layers, one layer after another, each token's divided by its root mean square, and the mean
    is that over the tokens that follow the messages before the last one, or over all but the first one of a plain text.
    With candidates, the prompt ends where the first of them differs from it. Scores and text follow.
    """

    id: str
    mean: bytes
    last: bytes
    layers: tuple[int, ...] = ()


@frozen
class Embeddings:
    """The vector of each text that a request ``embeds``, in their order, as a server computed them."""

    id: str
    vectors: tuple[array.array[float], ...]


@frozen
class TokenLogprobs:
    """Natural-log probability of a token (bytes, perhaps no UTF-8) before sampling.

    ``top``: of the most likely ones.
    """

    id: str
    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@frozen
class AnswerRestarted:
    """The worker ended while it answered a request, and another one answers it: its events so far are void.

    ``error`` says why the worker ended. A consumer that cannot begin anew cancels the request.
    """

    id: str
    error: Exception


REPETITION_LIMIT = "repetition"
"""``Finished.limit`` of an answer that was stopped since it repeated itself."""
CHARS_LIMIT = "max_chars"
"""``Finished.limit`` of an answer with more characters than ``Request.max_chars``."""


@frozen
class Finished:
    """The last event of a request. ``error`` is set exactly when ``reason`` is ``error``.

    ``limit`` says what ended an answer of reason ``length``: "max_tokens", "context", "repetition" or "max_chars".
    ``stop_string`` is the stop string that ended an answer, None where the model ended it. ``reasoning_tokens`` of the
    generated tokens are reasoning. The engine sets both; remote servers do not report them. ``unrestored``:
    placeholders that were damaged or lost. ``warnings``: about the answer, as that another model wrote it.
    ``tool_calls``: those that a server reports; models on this machine write them into the text (``ToolCallParser``).
    """

    id: str
    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    error: Exception | None = None
    limit: str | None = None
    stop_string: str | None = None
    reasoning_tokens: int = 0
    unrestored: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    warnings: tuple[str, ...] = ()


class Phase(StrEnum):
    """What a request, or a job before its first request, is doing."""

    WORKING = "working"
    """No model is involved, or the work is unknown."""
    CHECKING = "checking"
    """The model file is compared with its checksum."""
    STARTING = "starting"
    """A worker is being found or started."""
    LOADING = "loading"
    WAITING = "waiting"
    """The request has made no progress yet."""
    QUEUED = "queued"
    READING = "reading"
    """The prompt is being evaluated."""
    THINKING = "thinking"
    WRITING = "writing"
    STOPPING = "stopping"
    DERIVING = "deriving"


@frozen
class RequestProgress:
    """The progress of a request that asked for it (``Request.progress``); at most a few events a second.

    ``phase`` is one of three. QUEUED: the request waits behind ``ahead`` others, and ``total`` is the length of its
    prompt in tokens. READING: ``done`` of ``total`` prompt tokens are evaluated, including those found in the cache.
    WRITING: ``done`` tokens are generated. A ``total`` of None is unknown.
    """

    id: str
    phase: Phase
    done: int = 0
    total: int | None = None
    ahead: int = 0


Event = (
    TextDelta
    | ReasoningDelta
    | CandidateScores
    | HiddenStates
    | Embeddings
    | TokenLogprobs
    | RequestProgress
    | AnswerRestarted
    | Finished
)


@frozen
class StateLayers:
    """Layers of a model after which hidden states are read, counted from 1.

    ``labels``: those that a calibration chooses from. ``vector``: the one whose mean state is the vector of a text.
    """

    labels: tuple[int, ...]
    vector: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StateLayers:
        """Return what ``asdict`` was given. Raises ``ValueError``, ``TypeError`` and ``KeyError`` for other values."""
        return cls(tuple(map(int, values["labels"])), int(values["vector"]))


@frozen
class BackendInfo:
    """What a backend can do. ``context`` in tokens; ``model_id`` identifies the model (a hash, or a server's name).

    ``rejects_overflow``: an overlong prompt ends with ``ContextOverflow``, so callers need not count. ``token_scores``:
    scores can report each token (``Score.token_logprobs``). ``is_engine``: the engine of this machine
    answers, so the common beginning of prompts is evaluated once, and ``Finished.stop_string`` is known.
    ``parameters``: the number of the model's weights, None if unknown. ``layers``: the number of the model's layers,
    None if only the states of the last one can be read.
    ``measured_layers``: those that ``llm models tune`` chose. ``weights``: the type of those that answer, None if
    unknown.
    """

    model: str
    model_id: str
    context: int
    scores: bool = True
    reasoning: bool = False
    rejects_overflow: bool = False
    token_scores: bool = False
    is_engine: bool = False
    parameters: int | None = None
    layers: int | None = None
    measured_layers: StateLayers | None = None
    weights: str | None = None


@frozen
class ServerStats:
    """The work of one of several servers: requests answered and failed, and why it is set aside, or "".

    ``warning``: that its answers name another model, or "".
    """

    address: str
    answered: int
    failed: int = 0
    problem: str = ""
    warning: str = ""


@frozen
class BackendStats:
    """The statistics of a backend since it was opened; None if unknown.

    ``decode_threads`` and ``prompt_threads``: last used for decode and for prefill; ``width``: most sequences evaluated
    at once; ``peak_memory``: bytes, of the process that runs the model; ``joules``: energy that the processor package
    used, including other processes. ``choices``: a sentence on each choice and its reason. ``cost``: of the tokens that
    a hosted model reported, in the currency of its price; ``num_unknown_costs``: answers whose tokens it did not report,
    which may have cost something. ``weights``: as in ``EngineOptions``. ``draft_off``: why the
    draft model is not used, or "". ``redacted``: the number of private values of each kind that were replaced.
    ``servers``: of several servers behind one name.
    """

    decode_threads: int | None = None
    prompt_threads: int | None = None
    width: int | None = None
    peak_memory: int | None = None
    joules: float | None = None
    choices: tuple[str, ...] = ()
    cost: float | None = None
    draft_off: str = ""
    weights: str | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
    servers: tuple[ServerStats, ...] = ()
    num_unknown_costs: int = 0


@frozen
class Delta:
    """A piece of output text of item ``item`` (an index into the task's inputs); reasoning where ``reasoning``."""

    text: str
    item: int = 0
    reasoning: bool = False


@frozen
class Progress:
    """``done`` of ``total`` (None: unknown) units; ``unit`` is "bytes", "tokens", "parts", "records", ...

    With a ``phase`` it describes a step towards the next unit of the job, or towards its first output: ``done`` counts
    tokens, for LOADING percent, for QUEUED the requests ahead; ``label`` names the model, or the step. ``estimated``:
    the total is not known exactly. ``current`` is the text of the unit that is worked on, "" if unknown; ``tokens``:
    those generated for the units that are done.
    """

    done: int
    total: int | None
    unit: str
    label: str = ""
    phase: Phase | None = None
    estimated: bool = False
    current: str = ""
    tokens: int | None = None


@frozen
class Notice:
    """Something the user should know about item ``item`` although it did not fail."""

    text: str
    item: int = 0


@frozen
class ItemFailed:
    """Item ``item`` named ``name`` could not be processed; ``record`` as in ``Result``."""

    item: int
    name: str
    error: Exception
    record: Any = None


PROBABILITY_DIGITS = 4
"""Decimals of a probability in a result, a table or a line."""


@frozen
class Result:
    """The complete result of one item: its text, or the task's own ``fields`` (both if useful).

    ``usage`` is the sum over all calls. ``cut`` is set when the result is incomplete, and ``incomplete`` says why (an
    error of ``errors.incomplete_results``; None: a limit that the user did not set ended the answer). ``blank``: there
    was nothing to do, so the item counts neither as delivered nor as failed. ``record`` is the ``Record`` that the
    result is about, None for documents. ``data``: the document in a binary format, whose text is only what was found in
    it.
    """

    item: int
    name: str
    text: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    prompt: str = ""
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage = Usage()
    timings: Timings = Timings()
    warnings: tuple[str, ...] = ()
    cut: bool = False
    incomplete: Exception | None = None
    blank: bool = False
    record: Any = None
    data: bytes | None = None


TaskEvent = Delta | Progress | Notice | ItemFailed | Result
