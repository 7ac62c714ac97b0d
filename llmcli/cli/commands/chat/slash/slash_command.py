"""A slash command: its name, its arguments as /help shows them, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


@frozen
class SlashCommand:
    """``run`` gets the chat and what follows the name. ``completes``: the kind of its argument, for the Tab key.

    ``arguments`` "": the command takes none. Kinds are "models", "sessions", "prompts", "files", "options" and "".
    """

    name: str
    help: str
    run: Callable[[ActiveChat, str], None]
    arguments: str = ""
    completes: str = ""

    @property
    def usage(self) -> str:
        """The name with its arguments."""
        return f"{self.name} {self.arguments}".rstrip()


def require_argument(command: str, argument: str, example: str) -> str:
    """Return the argument of a command that needs one; raises ``UsageError``."""
    if not argument:
        raise UsageError(f"{command} needs an argument", detail=f"Try: {example}")
    return argument


def split_argument(argument: str) -> tuple[str, str]:
    """Return the first word of an argument and the rest, which a space or a line break separates."""
    word, *rest = argument.split(maxsplit=1) or [""]
    return word, rest[0] if rest else ""


def parse_number(command: str, argument: str) -> int | None:
    """Return the number of a message, None without an argument; raises ``UsageError``."""
    if not argument:
        return None
    if not argument.isdecimal() or int(argument) == 0:
        raise UsageError(f"{command} takes the number of a message", detail="/tree shows the numbers.")
    return int(argument)
