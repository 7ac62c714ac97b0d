"""What requests in OpenAI's protocol ask for: bodies become our own requests, read strictly (``fields``)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from llmcli.types import Priority, Request
from llmcli.worker import tools
from llmcli.worker.fields import (
    MOST_ALTERNATIVES,
    MOST_ANSWERS,
    MOST_CANDIDATES,
    MOST_PROMPTS,
    MOST_STOPS,
    BadField,
    Fields,
)
from llmcli.worker.tools import NONE, Toolbox

_USUAL_COMPLETION = 16
"""Tokens of a completion whose length nobody gave, as the protocol says."""
_THINKING = frozenset({"low", "medium", "high", "xhigh"})
_NOT_THINKING = frozenset({"none", "minimal"})


@dataclass(frozen=True)
class Wish:
    """What a request asks for: each of ``bases`` is sent ``answers`` times."""

    bases: tuple[Request, ...]
    model: str | None
    answers: int = 1
    stream: bool = False
    usage: bool = False
    toolbox: Toolbox = NONE

    @property
    def base(self) -> Request:
        """The request, or the first."""
        return self.bases[0]

    def requests(self) -> list[Request]:
        """Return the requests for all answers, which are called by their index; each answer draws other tokens."""
        return [
            _numbered(base, position * self.answers + number, number)
            for position, base in enumerate(self.bases)
            for number in range(self.answers)
        ]


def _numbered(base: Request, index: int, number: int) -> Request:
    seed = base.sampling.seed
    sampling = base.sampling if seed is None else dataclasses.replace(base.sampling, seed=(seed + number) % 2**32)
    return dataclasses.replace(base, id=str(index), sampling=sampling)


def chat(fields: Fields) -> Wish:
    """``POST /v1/chat/completions``."""
    count = fields.whole("top_logprobs", 0, MOST_ALTERNATIVES)
    logprobs = fields.switch("logprobs")
    if count is not None and not logprobs:
        raise BadField("top_logprobs", "top_logprobs needs logprobs to be true")
    box, schema = tools.read(fields), fields.schema()
    if schema is not None and box.tools:
        raise BadField("response_format", 'response_format and tools go together only where tool_choice is "none"')
    base = Request(
        "0",
        fields.messages(),
        sampling=fields.sampling(),
        stop=fields.texts("stop", MOST_STOPS),
        max_tokens=fields.longest(),
        schema=schema if schema is not None else box.schema(),
        priority=Priority.INTERACTIVE,
        reasoning=_reasoning(fields),
        logprobs=(count or 0) if logprobs else None,
        tools=box.tools,
        ignore_eos=fields.switch("ignore_eos"),
    )
    return _answered((base,), fields, box)


def completion(fields: Fields) -> Wish:
    """``POST /v1/completions``: texts that are continued as they stand."""
    if fields.switch("echo"):
        raise BadField("echo", "echo is not supported: the prompt is yours already")
    prompts = fields.texts("prompt", MOST_PROMPTS)
    if not prompts:
        raise BadField("prompt", "prompt is not a text or a list of texts")
    longest = fields.longest()
    base = Request(
        "0",
        (),
        sampling=fields.sampling(),
        stop=fields.texts("stop", MOST_STOPS),
        max_tokens=_USUAL_COMPLETION if longest is None else longest,
        schema=fields.schema(),
        priority=Priority.INTERACTIVE,
        logprobs=fields.whole("logprobs", 0, MOST_ALTERNATIVES),
        ignore_eos=fields.switch("ignore_eos"),
    )
    wish = _answered(tuple(dataclasses.replace(base, prompt=prompt) for prompt in prompts), fields)
    best = fields.whole("best_of", 1, MOST_ANSWERS)
    if best is not None and best != wish.answers:
        raise BadField("best_of", "best_of is not supported, unless it is n")
    if wish.answers * len(prompts) > MOST_PROMPTS:
        raise BadField("n", f"these are more than {MOST_PROMPTS} answers")
    return wish


def score(fields: Fields) -> Wish:
    """``POST /v1/score``."""
    candidates = fields.texts("candidates", MOST_CANDIDATES)
    if not candidates:
        raise BadField("candidates", "candidates is not a list of texts")
    base = Request("0", fields.messages(), candidates=candidates, priority=Priority.INTERACTIVE)
    return Wish((base,), fields.text("model"))


def count(fields: Fields) -> Wish:
    """``POST /v1/count``: of a conversation, or of a text that is continued as it stands."""
    box, prompt = tools.read(fields), fields.text("prompt")
    if prompt is not None:
        if fields.get("messages") is not None or box.tools:
            raise BadField("prompt", "prompt goes with neither messages nor tools")
        return Wish((Request("0", (), prompt=prompt),), fields.text("model"))
    if fields.get("messages") is None:
        raise BadField("messages", "there are neither messages nor a prompt")
    return Wish((Request("0", fields.messages(), tools=box.tools),), fields.text("model"))


def _answered(bases: tuple[Request, ...], fields: Fields, box: Toolbox = NONE) -> Wish:
    answers = fields.whole("n", 1, MOST_ANSWERS) or 1
    return Wish(bases, fields.text("model"), answers, *fields.streamed(), box)


def _reasoning(fields: Fields) -> bool:
    """Return whether a thinking model shall think: only where the request says so, in OpenAI's words or in vLLM's."""
    thinking = fields.template_switch("enable_thinking")
    effort = fields.text("reasoning_effort")
    if effort not in {None, *_THINKING, *_NOT_THINKING}:
        raise BadField(
            "reasoning_effort", f"reasoning_effort is none of {', '.join(sorted(_THINKING | _NOT_THINKING))}"
        )
    return bool(thinking) if effort is None else effort in _THINKING
