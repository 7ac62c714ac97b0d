"""The clipboard of the terminal, written with OSC 52 of xterm's control sequences.

The terminal decides whether programs may write its clipboard, and does not answer, so success cannot be checked.
"""

from __future__ import annotations

import base64
import os

from llmcli.cli.console import sanitize
from llmcli.cli.console.console import Console

MAX_CLIPBOARD_BYTES = 74_994
"""Bytes that terminals accept in one OSC 52 sequence: xterm allows 100,000 characters of base64 with the frame."""


def clipboard_terminal(console: Console) -> int | None:
    """Return the descriptor of the terminal: standard output, else standard error; None if neither is a capable one."""
    if console.environment.environ.get("TERM") == "dumb":
        return None
    if console.stdout_is_terminal:
        return console.environment.stdout
    return console.environment.stderr if console.stderr_is_terminal else None


def copy_to_clipboard(console: Console, text: str) -> bool:
    """Send a text without control sequences to the clipboard.

    Return whether it is short enough, and there is a terminal.
    """
    data = sanitize.strip_controls(text).encode("utf-8", "replace")
    target = clipboard_terminal(console)
    if target is None or len(data) > MAX_CLIPBOARD_BYTES:
        return False
    with console.environment.suspend_painters():
        sequence = b"\x1b]52;c;" + base64.b64encode(data) + b"\x07"
        while sequence:
            sequence = sequence[os.write(target, sequence) :]
    return True
