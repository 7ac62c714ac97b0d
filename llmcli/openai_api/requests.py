"""Strict parsing of bodies in OpenAI's protocol into ``Request``s (see ``fields``)."""

from __future__ import annotations

from llmcli.fast_dataclass import frozen, replace
from llmcli.openai_api import tool_calls
from llmcli.openai_api.fields import (
    MAX_CHOICES,
    MAX_PROMPTS,
    MAX_STOP_STRINGS,
    MAX_TOP_LOGPROBS,
    FieldError,
    Fields,
)
from llmcli.openai_api.tool_calls import NO_TOOLS, ToolChoice
from llmcli.types import Priority, Request

_DEFAULT_COMPLETION_TOKENS = 16
"""Length of a completion without max_tokens, as in the protocol."""
_REASONING_EFFORTS = frozenset({"low", "medium", "high", "xhigh"})
_NO_REASONING_EFFORTS = frozenset({"none", "minimal"})


@frozen
class ParsedRequest:
    """A parsed request: each of ``base_requests`` is sent ``num_choices`` times.

    ``model`` is the requested name, and ``shown_model`` the one that the answer shows.
    """

    base_requests: tuple[Request, ...]
    model: str | None
    num_choices: int = 1
    stream: bool = False
    include_usage: bool = False
    tool_choice: ToolChoice = NO_TOOLS
    shown_model: str = ""

    @property
    def base_request(self) -> Request:
        """The request, or the first."""
        return self.base_requests[0]

    def expand_choices(self) -> list[Request]:
        """Return one request for each choice, with its index as the id; each choice samples with another seed."""
        return [
            _request_for_choice(base, position * self.num_choices + number, number)
            for position, base in enumerate(self.base_requests)
            for number in range(self.num_choices)
        ]


def _request_for_choice(base: Request, index: int, number: int) -> Request:
    seed = base.sampling.seed
    sampling = base.sampling if seed is None else replace(base.sampling, seed=(seed + number) % 2**32)
    return replace(base, id=str(index), sampling=sampling)


def parse_chat(fields: Fields) -> ParsedRequest:
    """``POST /v1/chat/completions``."""
    count = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    logprobs = fields.boolean("logprobs")
    if count is not None and not logprobs:
        raise FieldError("top_logprobs", "top_logprobs requires logprobs: true")
    box, schema = tool_calls.parse_tool_choice(fields), fields.response_schema()
    if schema is not None and box.tools:
        raise FieldError("response_format", 'response_format and tools exclude each other unless tool_choice is "none"')
    longest = fields.max_tokens()
    base = Request(
        "0",
        fields.messages(),
        sampling=fields.sampling(),
        stop=fields.strings("stop", MAX_STOP_STRINGS),
        max_tokens=longest,
        schema=schema if schema is not None else box.call_schema(),
        priority=Priority.INTERACTIVE,
        reasoning=_parse_reasoning(fields),
        logprobs=(count or 0) if logprobs else None,
        tools=box.tools,
        ignore_eos=fields.boolean("ignore_eos"),
        repetition=fields.repetition(longest),
    )
    return _parse_common_fields((base,), fields, box)


def parse_completion(fields: Fields) -> ParsedRequest:
    """``POST /v1/completions``: texts are continued without a chat template."""
    if fields.boolean("echo"):
        raise FieldError("echo", "echo is not supported")
    prompts = fields.strings("prompt", MAX_PROMPTS)
    if not prompts:
        raise FieldError("prompt", "prompt is not a string or a list of strings")
    longest = fields.max_tokens()
    base = Request(
        "0",
        (),
        sampling=fields.sampling(),
        stop=fields.strings("stop", MAX_STOP_STRINGS),
        max_tokens=_DEFAULT_COMPLETION_TOKENS if longest is None else longest,
        schema=fields.response_schema(),
        priority=Priority.INTERACTIVE,
        logprobs=fields.integer("logprobs", 0, MAX_TOP_LOGPROBS),
        ignore_eos=fields.boolean("ignore_eos"),
    )
    parsed = _parse_common_fields(tuple(replace(base, prompt=prompt) for prompt in prompts), fields)
    best = fields.integer("best_of", 1, MAX_CHOICES)
    if best is not None and best != parsed.num_choices:
        raise FieldError("best_of", "best_of is not supported unless it equals n")
    if parsed.num_choices * len(prompts) > MAX_PROMPTS:
        raise FieldError("n", f"the prompts and n ask for more than {MAX_PROMPTS} answers")
    return parsed


def parse_count(fields: Fields) -> ParsedRequest:
    """``POST /v1/count``: of a conversation, or of a prompt without a chat template."""
    fields.boolean("labels")  # it has chosen the weights (see ``scoring``)
    box, prompt = tool_calls.parse_tool_choice(fields), fields.string("prompt")
    if prompt is not None:
        if fields.get("messages") is not None or box.tools:
            raise FieldError("prompt", "prompt excludes messages and tools")
        return ParsedRequest((Request("0", (), prompt=prompt),), fields.string("model"))
    if fields.get("messages") is None:
        raise FieldError("messages", "messages or prompt is required")
    return ParsedRequest((Request("0", fields.messages(), tools=box.tools),), fields.string("model"))


def _parse_common_fields(bases: tuple[Request, ...], fields: Fields, box: ToolChoice = NO_TOOLS) -> ParsedRequest:
    answers = fields.integer("n", 1, MAX_CHOICES) or 1
    return ParsedRequest(bases, fields.string("model"), answers, *fields.stream_options(), box)


def _parse_reasoning(fields: Fields) -> bool:
    """Return whether to enable reasoning: only if the request asks for it, in OpenAI's or vLLM's terms."""
    thinking = fields.chat_template_flag("enable_thinking")
    return is_reasoning_effort(fields, "reasoning_effort", default=bool(thinking))


def is_reasoning_effort(fields: Fields, name: str, *, default: bool = False) -> bool:
    """Return whether the effort in the field ``name`` asks for reasoning; ``default`` without it."""
    effort = fields.string(name)
    if effort not in {None, *_REASONING_EFFORTS, *_NO_REASONING_EFFORTS}:
        efforts = ", ".join(sorted(_REASONING_EFFORTS | _NO_REASONING_EFFORTS))
        raise FieldError(name, f"{name} must be one of {efforts}")
    return default if effort is None else effort in _REASONING_EFFORTS
