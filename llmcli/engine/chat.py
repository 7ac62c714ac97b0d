"""Chat templates: messages to one prompt, rendered as ``transformers`` does, in a sandbox with limits.

A template comes out of a downloaded file, so it is not trusted (``sandbox``). Its variables and functions are those of
Hugging Face's ``apply_chat_template``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.engine.tokens import LONG, Tokenizer
from llmcli.engine.tools import Tool, Turn, has_calls, in_words, neutral, texts_in, turn_of, understands
from llmcli.errors import BadModelFile
from llmcli.types import Message, Request, Role

if TYPE_CHECKING:
    from llmcli.sandbox import Sandbox

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m['content'] + '\\n\\n' }}{% endfor %}"
"""For base models without a template: the text of the messages, to be continued."""

_SECONDS = 5.0
_EXTRA_CHARACTERS = 1 << 20
_REASONING_TAGS = (("<think>", "</think>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"))


def is_long(request: Request) -> bool:
    """Return whether it takes noticeable time to tokenize a request."""
    return len(request.prompt or "") + sum(len(message.content) for message in request.messages) >= LONG


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
        tokenizer.use_tags(self.reasoning_tags or ())

    def tokens(
        self, messages: Sequence[Message], *, reasoning: bool, prefix: str = "", tools: Sequence[Tool] = ()
    ) -> tuple[list[int], bool]:
        """Return the prompt's tokens, ``prefix`` being what the assistant is made to begin with.

        ``tools`` and calls go through the template where it knows them, else they are told in words. The second value
        says whether the prompt leaves the model inside its reasoning. Raises ``BadModelFile`` when the template cannot
        be rendered.
        """
        (tokens,), inside = self.each([prefix], messages, reasoning=reasoning, tools=tools)
        return tokens, inside

    def of_request(self, request: Request, limit: int) -> tuple[list[list[int]], bool]:
        """Return the tokens of a request's prompt, then with each candidate; the second value is that of ``tokens``.

        Raises ``ContextOverflow`` for a prompt that is too long for ``limit`` tokens by its bytes alone.
        """
        if request.prompt is not None:
            self._tokenizer.refuse_too_long(request.prompt, limit)
            return [self._tokenizer.raw(request.prompt)], False
        return self.each(
            ("", *request.candidates),
            request.messages,
            reasoning=request.reasoning,
            tools=request.tools,
            limit=limit,
        )

    def each(
        self,
        prefixes: Sequence[str],
        messages: Sequence[Message],
        *,
        reasoning: bool,
        tools: Sequence[Tool] = (),
        limit: int | None = None,
    ) -> tuple[list[list[int]], bool]:
        """Return what ``tokens`` returns with each of ``prefixes``; the prompt is rendered once. ``limit``: see above."""
        turns = [turn_of(message) for message in messages]
        given = [turns, list(tools), list(prefixes)]
        (turns, given_tools, begun), mark = neutral(self._tokenizer, self.source, given)
        prompt = self._render_tools(turns, reasoning, given_tools)
        if limit is not None:
            self._tokenizer.refuse_too_long_prompt(prompt, mark, limit)
        tags = self.reasoning_tags
        inside = tags is not None and prompt.rfind(tags[0]) > prompt.rfind(tags[1])
        return [self._tokenizer.rendered(prompt + prefix, mark) for prefix in begun], inside

    def _render_tools(self, turns: list[Turn], reasoning: bool, tools: list[Tool]) -> str:
        """Render what the template can, and the rest in words; a template that refuses tools in one shape gets words."""
        if not (tools or has_calls(turns)):
            return self._render_any(turns, reasoning)
        if understands(self.source, turns, tools):
            with contextlib.suppress(BadModelFile):
                return self._render_any(turns, reasoning, tools)
        return self._render_any(in_words(turns, tools), reasoning)

    def _render_any(self, turns: list[Turn], reasoning: bool, tools: list[Tool] | None = None) -> str:
        """Render; for templates that refuse a system message it becomes the start of the first user message."""
        try:
            return self._render(turns, reasoning, tools)
        except TemplateRefused as error:
            if not turns or turns[0]["role"] != Role.SYSTEM:
                raise BadModelFile("chat template", detail=str(error)) from error
        system, rest = turns[0]["content"], turns[1:]
        if rest and rest[0]["role"] == Role.USER:
            system, rest = system + "\n\n" + rest[0]["content"], rest[1:]
        try:
            return self._render([{"role": str(Role.USER), "content": system}, *rest], reasoning, tools)
        except TemplateRefused as error:
            raise BadModelFile("chat template", detail=str(error)) from error

    def _render(self, turns: list[Turn], reasoning: bool, tools: list[Tool] | None) -> str:
        from llmcli.sandbox import reason

        variables = {
            "messages": turns,
            "add_generation_prompt": True,
            "enable_thinking": reasoning,
            "thinking": reasoning,
            "bos_token": self._text(self._tokenizer.bos),
            "eos_token": self._text(self._tokenizer.eos),
            "tools": tools or None,
            "documents": None,
        }
        size = _EXTRA_CHARACTERS + 4 * sum(map(len, texts_in([turns, tools])))
        sandbox, template = self._compiled
        try:
            return sandbox.render_untrusted(template, variables, seconds=_SECONDS, size=size)
        except TemplateRefused:
            raise
        except Exception as error:  # a template is somebody else's program: whatever it raises is the file's fault
            raise BadModelFile("chat template", detail=reason(error)) from error

    def _text(self, token: int | None) -> str:
        return "" if token is None else next((t for t, i in self._tokenizer.controls.items() if i == token), "")

    @functools.cached_property
    def _compiled(self) -> tuple[Sandbox, Any]:
        from llmcli.sandbox import Sandbox, reason

        # as transformers' apply_chat_template sets it up
        sandbox = Sandbox({"tojson": _to_json}, extensions=["jinja2.ext.loopcontrols"])
        sandbox.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        try:
            return sandbox, sandbox.compile_untrusted(self.source, seconds=_SECONDS, size=_EXTRA_CHARACTERS)
        except Exception as error:  # syntax errors, and what deep nesting provokes in the compilers
            raise BadModelFile("chat template", detail=reason(error)) from error


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateRefused(message)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)
