"""Chat templates: messages to one prompt, rendered as ``transformers`` does, in a sandbox with limits.

A template comes from a downloaded file, so it is not trusted (``template_sandbox``). Its variables and functions are those of
Hugging Face's ``apply_chat_template``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.engine.text.template_tools import (
    TemplateMessage,
    Tool,
    escape_all,
    has_tool_calls,
    iter_texts,
    supports_tools,
    to_template_message,
    tools_as_text,
)
from llmcli.engine.text.tokenizer import LONG_TEXT_CHARACTERS, Tokenizer
from llmcli.errors import BadModelFile
from llmcli.types import Message, Request, Role

if TYPE_CHECKING:
    from llmcli.template_sandbox import TemplateSandbox

CHATML_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN_TEMPLATE = "{% for m in messages %}{{ m['content'] + '\\n\\n' }}{% endfor %}"
"""For base models without a template: the text of the messages, which the model continues."""

_RENDER_TIMEOUT_S = 5.0
_MAX_EXTRA_CHARACTERS = 1 << 20
_REASONING_TAGS = (("<think>", "</think>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"))


def is_long_request(request: Request) -> bool:
    """Return whether tokenizing a request takes noticeable time."""
    return len(request.prompt or "") + sum(len(message.content) for message in request.messages) >= LONG_TEXT_CHARACTERS


class TemplateRefused(Exception):
    """The template itself called ``raise_exception``."""


class ChatTemplate:
    """The chat template of one model. ``reasoning_tags`` is (open, close) for models that show their reasoning, else None."""

    def __init__(self, source: str | None, tokenizer: Tokenizer) -> None:
        if source is None:
            source = CHATML_TEMPLATE if "<|im_start|>" in tokenizer.control_tokens else PLAIN_TEMPLATE
        self.source = source
        self._tokenizer = tokenizer
        self.reasoning_tags = next((tags for tags in _REASONING_TAGS if tags[1] in source), None)
        tokenizer.register_tags(self.reasoning_tags or ())

    def tokenize(
        self, messages: Sequence[Message], *, reasoning: bool, prefix: str = "", tools: Sequence[Tool] = ()
    ) -> tuple[list[int], bool]:
        """Return the prompt's tokens; ``prefix`` is the start of the assistant's answer.

        ``tools`` and calls go through the template if it supports them, otherwise they become text. The second value
        says whether the prompt leaves the model inside its reasoning. Raises ``BadModelFile`` when the template cannot
        be rendered.
        """
        (tokens,), inside = self.tokenize_with_prefixes([prefix], messages, reasoning=reasoning, tools=tools)
        return tokens, inside

    def tokenize_request(self, request: Request, limit: int) -> tuple[list[list[int]], bool]:
        """Return the tokens of a request's prompt, then with each candidate; the second value is that of ``tokenize``.

        Raises ``ContextOverflow`` for a prompt that is too long for ``limit`` tokens by its bytes alone.
        """
        if request.prompt is not None:
            texts = [request.prompt + candidate for candidate in ("", *request.candidates)]
            self._tokenizer.check_length(max(texts, key=len), limit)
            return [self._tokenizer.encode_prompt(text) for text in texts], False
        return self.tokenize_with_prefixes(
            ("", *request.candidates),
            request.messages,
            reasoning=request.reasoning,
            tools=request.tools,
            limit=limit,
        )

    def tokenize_with_prefixes(
        self,
        prefixes: Sequence[str],
        messages: Sequence[Message],
        *,
        reasoning: bool,
        tools: Sequence[Tool] = (),
        limit: int | None = None,
    ) -> tuple[list[list[int]], bool]:
        """Tokenize as ``tokenize`` for each of ``prefixes``, rendering once; ``limit`` as in ``tokenize_request``."""
        turns = [to_template_message(message) for message in messages]
        values = [turns, list(tools), list(prefixes)]
        (turns, escaped_tools, escaped_prefixes), mark = escape_all(self._tokenizer, self.source, values)
        prompt = self._render_with_tools(turns, reasoning, escaped_tools)
        if limit is not None:
            self._tokenizer.check_prompt_length(prompt, mark, limit)
        tags = self.reasoning_tags
        inside = tags is not None and prompt.rfind(tags[0]) > prompt.rfind(tags[1])
        return [self._tokenizer.encode_rendered(prompt + prefix, mark) for prefix in escaped_prefixes], inside

    def _render_with_tools(self, turns: list[TemplateMessage], reasoning: bool, tools: list[Tool]) -> str:
        """Render; tools become text if the template does not support them, or refuses them in this form."""
        if not (tools or has_tool_calls(turns)):
            return self._render_with_system_fallback(turns, reasoning)
        if supports_tools(self.source, turns, tools):
            with contextlib.suppress(BadModelFile):
                return self._render_with_system_fallback(turns, reasoning, tools)
        return self._render_with_system_fallback(tools_as_text(turns, tools), reasoning)

    def _render_with_system_fallback(
        self, turns: list[TemplateMessage], reasoning: bool, tools: list[Tool] | None = None
    ) -> str:
        """Render; if a template refuses a system message, that becomes the start of the first user message."""
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

    def _render(self, turns: list[TemplateMessage], reasoning: bool, tools: list[Tool] | None) -> str:
        from llmcli.template_sandbox import describe_failure

        variables = {
            "messages": turns,
            "add_generation_prompt": True,
            "enable_thinking": reasoning,
            "thinking": reasoning,
            "bos_token": self._control_token_text(self._tokenizer.bos),
            "eos_token": self._control_token_text(self._tokenizer.eos),
            "tools": tools or None,
            "documents": None,
        }
        size = _MAX_EXTRA_CHARACTERS + 4 * sum(map(len, iter_texts([turns, tools])))
        sandbox, template = self._compiled_template
        try:
            return sandbox.render_untrusted(template, variables, seconds=_RENDER_TIMEOUT_S, size=size)
        except TemplateRefused:
            raise
        except Exception as error:  # a template is a program from the file: any error of it is the file's fault
            raise BadModelFile("chat template", detail=describe_failure(error)) from error

    def _control_token_text(self, token: int | None) -> str:
        return "" if token is None else next((t for t, i in self._tokenizer.control_tokens.items() if i == token), "")

    @functools.cached_property
    def _compiled_template(self) -> tuple[TemplateSandbox, Any]:
        from llmcli.template_sandbox import TemplateSandbox, describe_failure

        # as transformers' apply_chat_template sets it up
        sandbox = TemplateSandbox({"tojson": _to_json}, extensions=["jinja2.ext.loopcontrols"])
        sandbox.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        try:
            return sandbox, sandbox.compile_untrusted(
                self.source, seconds=_RENDER_TIMEOUT_S, size=_MAX_EXTRA_CHARACTERS
            )
        except Exception as error:  # syntax errors, and errors of the compilers over deep nesting
            raise BadModelFile("chat template", detail=describe_failure(error)) from error


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateRefused(message)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)
