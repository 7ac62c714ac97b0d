"""Chat templates: messages to one prompt, rendered as ``transformers`` does, in a sandbox with limits.

A template comes out of a downloaded file, so it is not trusted: no attribute access (Jinja's immutable sandbox), a
bound on time and on size. Its loop variables and functions are those of Hugging Face's ``apply_chat_template``.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.engine.tokens import Tokenizer
from llmcli.errors import BadModelFile
from llmcli.types import Message, Role

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m['content'] + '\\n\\n' }}{% endfor %}"
"""For base models without a template: the text of the messages, to be continued."""

_SECONDS = 5.0
_EXTRA_CHARACTERS = 1 << 20
_REASONING_TAGS = (("<think>", "</think>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"))


class TemplateRefused(Exception):
    """The template itself called ``raise_exception``."""


class ChatTemplate:
    """The chat template of one model. ``reasoning_tags`` is (open, close) for models that think aloud, else None."""

    def __init__(self, source: str | None, tokenizer: Tokenizer) -> None:
        if source is None:
            source = CHATML if "<|im_start|>" in tokenizer.controls else PLAIN
        self.source = source
        self._tokenizer = tokenizer
        self.reasoning_tags = next((tags for tags in _REASONING_TAGS if tags[1] in source), None)
        self._no_system = False

    def tokens(self, messages: Sequence[Message], *, reasoning: bool, prefix: str = "") -> tuple[list[int], bool]:
        """Return the prompt's tokens, ``prefix`` being what the assistant is made to begin with.

        The second value says whether the prompt leaves the model inside its reasoning. Raises ``BadModelFile`` when
        the template cannot be rendered.
        """
        contents, mark = self._tokenizer.neutralize([*(m.content for m in messages), prefix], self.source)
        turns = [{"role": str(m.role), "content": text} for m, text in zip(messages, contents, strict=False)]
        prompt = self._render_any(turns, reasoning)
        tags = self.reasoning_tags
        inside = tags is not None and prompt.rfind(tags[0]) > prompt.rfind(tags[1])
        return self._tokenizer.rendered(prompt + contents[-1], mark), inside

    def _render_any(self, turns: list[dict[str, str]], reasoning: bool) -> str:
        """Render; for templates that refuse a system message it becomes the start of the first user message."""
        if not self._no_system:
            try:
                return self._render(turns, reasoning)
            except TemplateRefused as error:
                if not turns or turns[0]["role"] != Role.SYSTEM:
                    raise BadModelFile("chat template", detail=str(error)) from error
                self._no_system = True
        merged = turns
        if turns[0]["role"] == Role.SYSTEM and len(turns) > 1:
            merged = [{"role": turns[1]["role"], "content": turns[0]["content"] + "\n\n" + turns[1]["content"]}]
            merged += turns[2:]
        try:
            return self._render(merged, reasoning)
        except TemplateRefused as error:
            raise BadModelFile("chat template", detail=str(error)) from error

    def _render(self, turns: list[dict[str, str]], reasoning: bool) -> str:
        import jinja2

        limit = _EXTRA_CHARACTERS + 4 * sum(len(turn["content"]) for turn in turns)
        deadline = time.monotonic() + _SECONDS
        try:
            pieces = self._compiled.generate(
                messages=turns,
                add_generation_prompt=True,
                enable_thinking=reasoning,
                thinking=reasoning,
                bos_token=self._text(self._tokenizer.bos),
                eos_token=self._text(self._tokenizer.eos),
                tools=None,
                documents=None,
                range=functools.partial(_bounded_range, deadline),
            )
            return "".join(_bounded(pieces, limit, deadline))
        except jinja2.TemplateError as error:
            raise BadModelFile("chat template", detail=f"{type(error).__name__}: {error}") from error
        except (
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            OverflowError,
        ) as error:
            # what a template of somebody else may provoke inside the sandbox
            raise BadModelFile("chat template", detail=f"{type(error).__name__}: {error}") from error

    def _text(self, token: int | None) -> str:
        return "" if token is None else next((t for t, i in self._tokenizer.controls.items() if i == token), "")

    @functools.cached_property
    def _compiled(self) -> Any:
        import jinja2
        import jinja2.sandbox

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateError as error:
            raise BadModelFile("chat template", detail=f"{type(error).__name__}: {error}") from error


def _bounded(pieces: Iterator[str], limit: int, deadline: float) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise ValueError("the prompt grows without end")
        if time.monotonic() > deadline:
            raise ValueError("rendering takes too long")
        yield piece


def _bounded_range(deadline: float, *bounds: int) -> Iterator[int]:
    """``range`` for templates; loops that print nothing end at the deadline too."""
    for number in range(*bounds):
        if time.monotonic() > deadline:
            raise ValueError("rendering takes too long")
        yield number


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateRefused(message)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)
