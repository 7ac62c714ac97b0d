"""Draw a chat on terminals of 40, 80 and 200 columns, light and dark: ``python docs/make_chat_svg.py [DIRECTORY]``.

The chat runs for real, on a pseudo-terminal that pyte draws; a scripted model gives the answers. Needs the extra "test".
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import re
import struct
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pyte
from make_session_svg import THEME, WEB_FONT
from pexpect import fdpexpect
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

if TYPE_CHECKING:
    from chat_server import ChatServer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
SIZES = ((40, 40), (80, 30), (200, 24))
"""Columns and rows."""
LIGHT = TerminalTheme(
    (250, 250, 250),
    (56, 58, 66),
    [
        (56, 58, 66),
        (202, 18, 67),
        (64, 131, 50),
        (152, 104, 1),
        (33, 99, 199),
        (150, 35, 148),
        (1, 120, 150),
        (110, 112, 118),
    ],
)
THEMES = {"dark": THEME, "light": LIGHT}
TYPED = ("tour", "/tokens", "/tree")
UNSENT = "Which day is dry?"


def converse(server: ChatServer, columns: int, rows: int) -> bytes:
    """Return what a chat writes to a terminal of this size, up to a line that is typed and not sent."""
    from terminal import PROMPT  # noqa: PLC0415 (a module of the tests)

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with tempfile.TemporaryDirectory() as directory, (Path(directory) / "shown").open("w+b") as shown:
        environ = {**os.environ, "TERM": "xterm-256color", "LLMCLI_WORKER": "off", "LLMCLI_MODEL": _model(directory)}
        environ |= {f"LLMCLI_{kind}_DIR": f"{directory}/{kind}" for kind in ("CONFIG", "DATA", "CACHE")}
        environ |= {"SCRIPTED_CONTEXT": "4096"}
        environ.pop("COLUMNS", None)
        process = server.start(["chat", "--session", "bicycle-tour"], os.ttyname(slave), environ, directory)
        chat = fdpexpect.fdspawn(master, timeout=20)
        chat.logfile_read = shown
        prompt = PROMPT.encode()
        chat.expect(prompt)
        for line in TYPED:
            chat.send(f"{line}\r")
            chat.expect(prompt)
        chat.send(UNSENT)
        chat.expect(UNSENT.encode())
        chat.expect(rb"\x1b\[\?25h")
        shown.seek(0)
        raw = shown.read()
        chat.send("\x15\x04")
        server.wait(process)
    for descriptor in (master, slave):
        os.close(descriptor)
    return raw


def _model(directory: str) -> str:
    import tiny_models  # noqa: PLC0415

    tiny_models.make(directory, ["chatml"])
    named = Path(directory) / "qwen3-4b.gguf"
    (Path(directory) / "chatml.gguf").rename(named)
    return str(named)


def draw(raw: bytes, columns: int, rows: int, theme: TerminalTheme) -> str:
    """Return the screen of a terminal that got ``raw`` as SVG."""
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(raw)
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    last = max((number for number, line in enumerate(screen.display) if line.strip()), default=0)
    for number in range(last + 1):
        line = Text(no_wrap=True, end="\n")
        cells = [screen.buffer[number][column] for column in range(columns)]
        for style, alike in itertools.groupby(cells, _style):
            line.append("".join(cell.data for cell in alike), style)
        line.rstrip()
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="llm chat", theme=theme, unique_id="chat")
    svg = WEB_FONT.sub("", svg).replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    return re.sub(r"[ \t]+$", "", svg.replace('font-family="Fira Code"', ""), flags=re.MULTILINE)


def _style(cell: pyte.screens.Char) -> Style:
    color, background = (None if name == "default" else _color(name) for name in (cell.fg, cell.bg))
    return Style(
        color=color,
        bgcolor=background,
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def _color(name: str) -> str:
    return f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else {"brown": "yellow"}.get(name, name)


def main(argv: list[str]) -> int:
    """Write the pictures into the directory that the command line names; returns the exit code."""
    from chat_server import ChatServer  # noqa: PLC0415 (a module of the tests)

    directory = Path(argv[0]) if argv else Path(__file__).parent / "images"
    directory.mkdir(exist_ok=True)
    server = ChatServer()
    for columns, rows in SIZES:
        raw = converse(server, columns, rows)
        for name, theme in THEMES.items():
            (directory / f"chat-{columns}-{name}.svg").write_text(draw(raw, columns, rows, theme), encoding="utf-8")
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
