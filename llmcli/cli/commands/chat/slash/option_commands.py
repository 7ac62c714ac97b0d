"""Slash commands that change the model, the instructions or the options of the chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, split_argument
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.runner.task_requests import GenerationOptions

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat

AUTO = "auto"
"""The value that returns an option to its default."""


def _number(low: float, high: float | None = None, *, whole: bool = False) -> Callable[[str], float]:
    """Return a parser of numbers between ``low`` and ``high``; it raises ``ValueError``."""

    def parse(text: str) -> float:
        value: float = int(text) if whole else float(text)
        if not low <= value or (high is not None and value > high) or value == float("inf"):
            raise ValueError(text)
        return value

    return parse


def _switch(text: str) -> bool:
    return {"on": True, "off": False}[text.lower()]


_GENERATION_OPTIONS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "temperature": (_number(0), "a number of at least 0"),
    "top_k": (_number(1, whole=True), "a whole number of at least 1"),
    "top_p": (_number(0.01, 1), "a number from 0.01 to 1"),
    "min_p": (_number(0, 1), "a number from 0 to 1"),
    "repeat_penalty": (_number(0.01), "a number above 0"),
    "seed": (_number(0, 2**32 - 1, whole=True), "a whole number from 0 to 4294967295"),
    "max_tokens": (_number(1, whole=True), "a whole number of at least 1"),
    "reasoning": (_switch, "on or off"),
    "stop_repetition": (_switch, "on or off"),
}
_OVERFLOW = "overflow"
OPTION_NAMES = (*_GENERATION_OPTIONS, _OVERFLOW)


def model(chat: ActiveChat, argument: str) -> None:
    """Show the model, or let another one answer."""
    if argument:
        chat.ctx.use_model(argument)
        chat.conversation.use_backend(chat.ctx.runtime.backend())
        chat.conversation.announces_model = False
    info = chat.ctx.runtime.backend().info()
    chat.write_notice(f"{info.model} answers, with a context of {info.context} tokens.")


def system(chat: ActiveChat, argument: str) -> None:
    """Show, replace or remove the instructions of the chat."""
    if not argument:
        chat.write_notice(chat.conversation.system or "There are no instructions. To set them: /system TEXT")
        return
    chat.conversation.system = "" if argument == "-" else argument
    chat.recorder.set_details(system=chat.conversation.system)
    chat.write_notice(
        "The instructions hold from the next message on." if chat.conversation.system else "Removed the instructions."
    )


def set_option(chat: ActiveChat, argument: str) -> None:
    """Show the options, or change one."""
    name, value = split_argument(argument)
    if not name:
        chat.write_notice("\n".join(f"{key} {shown}" for key, shown in _current(chat).items()))
        return
    if name not in OPTION_NAMES:
        raise UsageError(f"{name} is not an option of a chat", detail=f"Options: {', '.join(OPTION_NAMES)}")
    if value:
        _change(chat, name, value)
    chat.write_notice(f"{name} {_current(chat)[name]}")


def _current(chat: ActiveChat) -> dict[str, str]:
    """Return the options as they are shown."""

    def show(value: Any) -> str:
        return AUTO if value is None else {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)

    options = chat.conversation.options
    shown = {name: show(getattr(options, name)) for name in _GENERATION_OPTIONS}
    return {**shown, _OVERFLOW: str(chat.conversation.policy)}


def _change(chat: ActiveChat, name: str, value: str) -> None:
    expected = ""
    try:
        if name == _OVERFLOW:
            expected = ", ".join(OverflowPolicy)
            chat.conversation.policy = OverflowPolicy(value)
            chat.recorder.set_details(overflow=value)
        else:
            parse, expected = _GENERATION_OPTIONS[name]
            parsed: Any = getattr(GenerationOptions(), name) if value == AUTO else parse(value)
            changed: dict[str, Any] = {name: parsed}
            chat.conversation.options = replace(chat.conversation.options, **changed)
            if name == "reasoning":
                chat.ctx.flags = replace(chat.ctx.flags, reasoning=bool(parsed))
    except (ValueError, KeyError) as error:
        raise UsageError(f"{name}: expected {expected}, not {value}", detail=f"Try: /set {name} {AUTO}") from error


COMMANDS = (
    SlashCommand("/model", "show the model, or let another one answer", model, "[NAME]", "models"),
    SlashCommand("/system", "show or replace the instructions; - removes them", system, "[TEXT]"),
    SlashCommand(
        "/set", "show or change options: temperature, seed, overflow, ...", set_option, "[NAME [VALUE]]", "options"
    ),
)
