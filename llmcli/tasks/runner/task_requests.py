"""Makes requests from the user's options and a prompt file."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import Any

from llmcli.fast_dataclass import fields, frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.types import (
    Message,
    Priority,
    RepetitionPolicy,
    Request,
    Role,
    Sampling,
)

RETRY_TEMPERATURE_STEP = 0.3
"""Added to the temperature of a retry, since greedy sampling would repeat the answer."""
_SEED_MODULUS = 2**32


@frozen
class GenerationOptions:
    """The user's options; None leaves the choice to the prompt file, then to the verb.

    ``max_tokens`` is the user's own limit: an answer that it ends does not count as cut. ``deadline`` is a
    ``time.monotonic()`` value. ``reasoning`` lets a reasoning model think. ``progress``: the requests report their
    progress. ``system``: the user's instructions, added to those of the prompt file.
    ``schema``: the JSON schema of the answer. ``stop_condition`` makes a function for one answer, which takes its
    pieces and returns whether it may end there. ``shows_deltas``: text is shown as it comes. ``stop_repetition``: an
    answer that repeats itself over and over is stopped.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    priority: Priority | None = None
    deadline: float | None = None
    reasoning: bool = False
    progress: bool = False
    system: str = ""
    schema: Mapping[str, Any] | None = None
    stop_condition: Callable[[], Callable[[str], bool]] | None = None
    stop_repetition: bool = True
    shows_deltas: bool = True


def choose_sampling(prompt: Prompt, options: GenerationOptions) -> Sampling:
    """Return how to sample: the user's options override the prompt file's, which override the defaults."""
    chosen: dict[str, Any] = {}
    for source in (prompt.options, options):
        for name in (f.name for f in fields(Sampling)):
            value = getattr(source, name, None)
            if value is not None:
                chosen[name] = value
    return Sampling(**chosen)


def make_request(
    request_id: str,
    messages: tuple[Message, ...],
    prompt: Prompt,
    options: GenerationOptions,
    *,
    max_tokens: int | None = None,
    candidates: tuple[str, ...] = (),
    priority: Priority = Priority.BULK,
    conversation: bool = False,
    session: str | None = None,
    document_chars: int = 0,
    repetition: RepetitionPolicy = RepetitionPolicy.ANSWER,
) -> Request:
    """Return a request for at most ``max_tokens`` tokens (None: until the context is full).

    ``conversation``: the earlier ``messages`` are turns of a chat, not the prompt file's own. ``session`` is the id of
    a saved chat. ``document_chars`` is as in ``Request``. ``repetition`` applies unless the options let answers repeat themselves.
    """
    priority = options.priority or priority
    return Request(
        id=request_id,
        messages=add_instructions(messages, options.system),
        candidates=candidates,
        sampling=choose_sampling(prompt, options),
        stop=options.stop or prompt.options.stop,
        max_tokens=max_tokens,
        schema=None if candidates else options.schema,
        priority=priority,
        deadline=options.deadline,
        reasoning=options.reasoning,
        public_prefix=prompt.public_prefix and not conversation and not options.system,
        session=session,
        document_chars=document_chars,
        progress=options.progress,
        repetition=RepetitionPolicy.OFF if candidates or not options.stop_repetition else repetition,
    )


def count_common_chars(messages: tuple[Message, ...], other: tuple[Message, ...]) -> int:
    """Return how many first characters the last messages of two conversations share; 0 if an earlier message differs.

    Of prompts with a document and different questions: how long the document is, with what stands before it.
    """
    if not messages or messages[:-1] != other[:-1] or messages[-1].role is not other[-1].role:
        return 0
    contents = [messages[-1].content, other[-1].content]
    return len(os.path.commonprefix(contents))  # noqa: RUF071 (characters are meant, not paths)


def add_instructions(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """Return the messages with ``text`` at the end of the system message; "" adds none."""
    if not text:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        first = replace(messages[0], content=f"{messages[0].content.rstrip()}\n\n{text}")
        return (first, *messages[1:])
    return (Message(Role.SYSTEM, text), *messages)


def make_retry(request: Request, options: GenerationOptions) -> Request | None:
    """Return the request for a retry; None if the user wants greedy sampling, which would repeat the answer.

    The seed is incremented, so that the same command line produces the same two answers.
    """
    sampling = request.sampling
    if sampling.temperature == 0:
        if options.temperature == 0:
            return None
        sampling = replace(sampling, temperature=RETRY_TEMPERATURE_STEP)
    if sampling.seed is not None:
        sampling = replace(sampling, seed=(sampling.seed + 1) % _SEED_MODULUS)
    return replace(request, id=f"{request.id}.again", sampling=sampling)


def max_answer_tokens(prompt: Prompt, options: GenerationOptions, default: int | None) -> int | None:
    """Return the most tokens of an answer: the user's limit, else the prompt file's, else the verb's ``default``."""
    return options.max_tokens or prompt.options.max_tokens or default
