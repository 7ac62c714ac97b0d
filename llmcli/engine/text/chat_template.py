"""Chat templates: messages to one prompt, rendered as ``transformers`` does, in a sandbox with limits.

A template comes from a downloaded file, so it is not trusted (``template_sandbox``). Its variables and functions are
those of Hugging Face's ``apply_chat_template``.

A template gets the tools of a conversation in the same form (``tools``, ``tool_calls``, role ``tool``); one without
tools gets them as text. Names, descriptions, schemas, arguments and results are untrusted text like messages, so
control tokens in them are escaped too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.engine.text.tokenizer import LONG_TEXT_CHARACTERS, Tokenizer
from llmcli.errors import BadModelFile
from llmcli.types import Message, Request, Role

if TYPE_CHECKING:
    from llmcli.template_sandbox import TemplateSandbox

CHATML_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_PLAIN_TEMPLATE = "{% for m in messages %}{{ m['content'] + '\\n\\n' }}{% endfor %}"
"""For base models without a template: the text of the messages, which the model continues."""

_RENDER_TIMEOUT_S = 5.0
_MAX_EXTRA_CHARACTERS = 1 << 20
_REASONING_TAGS = (("<think>", "</think>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"))


def is_long_request(request: Request) -> bool:
    """Return whether tokenizing a request takes noticeable time."""
    return len(request.prompt or "") + sum(len(message.content) for message in request.messages) >= LONG_TEXT_CHARACTERS


class _TemplateRefused(Exception):
    """The template itself called ``raise_exception``."""


class ChatTemplate:
    """The chat template of one model.

    ``reasoning_tags`` is (open, close) for models that show their reasoning, else None.
    """

    def __init__(self, source: str | None, tokenizer: Tokenizer) -> None:
        if source is None:
            source = CHATML_TEMPLATE if "<|im_start|>" in tokenizer.control_tokens else _PLAIN_TEMPLATE
        self.source = source
        self._tokenizer = tokenizer
        self.reasoning_tags = next((tags for tags in _REASONING_TAGS if tags[1] in source), None)
        tokenizer.register_tags(self.reasoning_tags or ())

    def tokenize(
        self, messages: Sequence[Message], *, reasoning: bool, prefix: str = "", tools: Sequence[_Tool] = ()
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
        tools: Sequence[_Tool] = (),
        limit: int | None = None,
    ) -> tuple[list[list[int]], bool]:
        """Tokenize as ``tokenize`` for each of ``prefixes``, rendering once; ``limit`` as in ``tokenize_request``."""
        turns = [to_template_message(message) for message in messages]
        values = [turns, list(tools), list(prefixes)]
        (turns, escaped_tools, escaped_prefixes), mark = _escape_all(self._tokenizer, self.source, values)
        prompt = self._render_with_tools(turns, reasoning, escaped_tools)
        if limit is not None:
            self._tokenizer.check_prompt_length(prompt, mark, limit)
        tags = self.reasoning_tags
        inside = tags is not None and prompt.rfind(tags[0]) > prompt.rfind(tags[1])
        return [self._tokenizer.encode_rendered(prompt + prefix, mark) for prefix in escaped_prefixes], inside

    def _render_with_tools(self, turns: list[_TemplateMessage], reasoning: bool, tools: list[_Tool]) -> str:
        """Render; tools become text if the template does not support them, or refuses them in this form."""
        if not (tools or _has_tool_calls(turns)):
            return self._render_with_system_fallback(turns, reasoning)
        if _supports_tools(self.source, turns, tools):
            with contextlib.suppress(BadModelFile):
                return self._render_with_system_fallback(turns, reasoning, tools)
        return self._render_with_system_fallback(tools_as_text(turns, tools), reasoning)

    def _render_with_system_fallback(
        self, turns: list[_TemplateMessage], reasoning: bool, tools: list[_Tool] | None = None
    ) -> str:
        """Render; if a template refuses a system message, that becomes the start of the first user message."""
        try:
            return self._render(turns, reasoning, tools)
        except _TemplateRefused as error:
            if not turns or turns[0]["role"] != Role.SYSTEM:
                raise BadModelFile("chat template", detail=str(error)) from error
        system, rest = turns[0]["content"], turns[1:]
        if rest and rest[0]["role"] == Role.USER:
            system, rest = system + "\n\n" + rest[0]["content"], rest[1:]
        try:
            return self._render([{"role": str(Role.USER), "content": system}, *rest], reasoning, tools)
        except _TemplateRefused as error:
            raise BadModelFile("chat template", detail=str(error)) from error

    def _render(self, turns: list[_TemplateMessage], reasoning: bool, tools: list[_Tool] | None) -> str:
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
        size = _MAX_EXTRA_CHARACTERS + 4 * sum(map(len, _iter_texts([turns, tools])))
        sandbox, template = self._compiled_template
        try:
            return sandbox.render_untrusted(template, variables, seconds=_RENDER_TIMEOUT_S, size=size)
        except _TemplateRefused:
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
    raise _TemplateRefused(message)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)


_TemplateMessage = dict[str, Any]
_Tool = Mapping[str, Any]

_TOOLS_INTRODUCTION = (
    "You can call functions. To call one, answer with nothing but a JSON object: "
    '{"name": "the function\'s name", "arguments": {...}}. Otherwise answer in words. The functions:'
)


def to_template_message(message: Message) -> _TemplateMessage:
    """Return a message in the form that templates expect."""
    turn: _TemplateMessage = {"role": str(message.role), "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _has_tool_calls(turns: Sequence[_TemplateMessage]) -> bool:
    """Return whether the conversation contains tool calls or their results."""
    return any(turn["role"] == Role.TOOL or "tool_calls" in turn for turn in turns)


def _supports_tools(source: str, turns: Sequence[_TemplateMessage], tools: Sequence[_Tool]) -> bool:
    """Return whether a template supports ``tools`` and the calls in ``turns``, by the words in its source."""
    return (not tools or re.search(r"\btools\b", source) is not None) and (
        not _has_tool_calls(turns) or "tool_calls" in source
    )


def tools_as_text(turns: Sequence[_TemplateMessage], tools: Sequence[_Tool]) -> list[_TemplateMessage]:
    """Return the conversation with tools described in the system message, calls as text, results from the user."""
    converted: list[_TemplateMessage] = []
    for turn in turns:
        role, content = turn["role"], turn["content"]
        if role == Role.TOOL:
            role, content = str(Role.USER), f"The function returned: {content}"
        for call in turn.get("tool_calls", ()):
            content += ("\n" if content else "") + json.dumps(call["function"], ensure_ascii=False)
        if converted and converted[-1]["role"] == role == Role.USER:  # many templates require alternating turns
            converted[-1]["content"] += "\n\n" + content
        else:
            converted.append({"role": role, "content": content})
    if tools:
        functions = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
        description = "\n".join([_TOOLS_INTRODUCTION, *functions])
        if converted and converted[0]["role"] == Role.SYSTEM:
            description = f"{converted.pop(0)['content']}\n\n{description}"
        converted.insert(0, {"role": str(Role.SYSTEM), "content": description})
    return converted


def _iter_texts(value: Any) -> Iterator[str]:
    """Yield all texts in JSON values, the keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _iter_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _iter_texts(inner)


def _escape_all(tokenizer: Tokenizer, template: str, value: Any) -> tuple[Any, str]:
    """Return JSON values with every control-token text in them escaped, and the escape character."""
    texts, mark = tokenizer.escape_control_tokens(list(_iter_texts(value)), template)
    return _replace_texts(value, iter(texts)), mark


def _replace_texts(value: Any, texts: Iterator[str]) -> Any:
    """Return ``value`` with its texts replaced, in the order of ``_iter_texts``."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, Mapping):
        return {next(texts): _replace_texts(inner, texts) for inner in value.values()}
    if isinstance(value, list):
        return [_replace_texts(inner, texts) for inner in value]
    return value
