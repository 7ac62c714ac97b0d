"""The slash command that sends a prompt file as a message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, require_argument, split_argument
from llmcli.errors import UsageError
from llmcli.prompts.contracts import GENERATE_PREFIX
from llmcli.prompts.prompt_library import find_own_prompt
from llmcli.tasks.generate import INPUT_VARIABLES
from llmcli.types import Message, Role

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat
    from llmcli.prompts.prompt_file import Prompt

_ASSIGNMENT = re.compile(r"""([A-Za-z_]\w*)=("[^"]*"|'[^']*'|\S*)\s*""")


def send_prompt(chat: ActiveChat, argument: str) -> None:
    """Send the prompt NAME as a message, with its variables and a text."""
    name, rest = split_argument(require_argument("/prompt", argument, "/prompt email topic=tides"))
    prompt = find_own_prompt(chat.ctx.runtime.prompts, name, kinds_first=True)
    if prompt.output != "text":
        raise UsageError(f"the prompt {name} constrains its answers", detail=f"Run it in a shell: llm generate {name}")
    values, text = _parse_variables(prompt, rest)
    attached = "\n\n".join(content for _, content in chat.attachments)
    if text or attached:
        values[_text_variable(prompt, values)] = text or attached
    missing = _missing_variables(prompt, values)
    if missing:
        example = " ".join(f"{each}=..." for each in missing)
        raise UsageError(f"{name}: missing variables: {', '.join(missing)}", detail=f"Try: /prompt {name} {example}")
    message = "\n\n".join(_as_text(prompt.render(values)))
    if not text:
        chat.attachments.clear()  # they are in the message now
    chat.send(message)


def _parse_variables(prompt: Prompt, rest: str) -> tuple[dict[str, str], str]:
    """Return the variables at the beginning of ``rest``, which may be quoted, and the text after them."""
    values: dict[str, str] = {}
    while (match := _ASSIGNMENT.match(rest)) and match[1] in prompt.variables:
        value = match[2]
        values[match[1]] = value[1:-1] if value[:1] in {'"', "'"} and value[-1:] == value[:1] else value
        rest = rest[match.end() :]
    return values, rest


def _text_variable(prompt: Prompt, given: dict[str, str]) -> str:
    """Return the variable that the text fills: ``text`` or ``input``, else the only one that has no value."""
    for name in INPUT_VARIABLES:
        if name in prompt.variables and name not in given:
            return name
    missing = _missing_variables(prompt, given)
    if len(missing) == 1:
        return missing[0]
    takes = " ".join(f"{name}=..." for name in prompt.variables) or "no variables"
    raise UsageError(
        f"the prompt {prompt.name.removeprefix(GENERATE_PREFIX)} takes no text", detail=f"It takes {takes}"
    )


def _missing_variables(prompt: Prompt, given: dict[str, str]) -> list[str]:
    """Return the variables that have no value."""
    return [name for name, variable in prompt.variables.items() if variable.default is None and name not in given]


def _as_text(messages: tuple[Message, ...]) -> list[str]:
    """Return the messages of a prompt as the paragraphs of one message: instructions, examples, the question."""
    *before, question = messages
    named = {Role.USER: "Example:\n", Role.ASSISTANT: "Answer:\n"}
    return [*(named.get(message.role, "") + message.content for message in before), question.content]


COMMANDS = (
    SlashCommand(
        "/prompt", "send a prompt file as a message", send_prompt, "NAME [VARIABLE=VALUE]... [TEXT]", "prompts"
    ),
)
