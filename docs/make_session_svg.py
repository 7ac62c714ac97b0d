"""Run a few commands and draw the terminal session: ``python docs/make_session_svg.py [FILE]``.

The commands run for real, with the model that ``llm`` uses by default. What they print on standard output and standard
error is drawn as SVG with rich, with no fonts from other hosts, on a dark terminal that is readable on light and dark
pages.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 92
NOTES = """\
The bicycle workshop will be closed on Monday, 4 May. The roof has to be repaired after the storm. Bicycles that are
already in the workshop will be ready one day later than planned. The workshop opens again on Tuesday at 10:00.
"""
COMMANDS = (
    'llm ask --temperature 0 "What is the capital of France?"',
    "llm summarize --temperature 0 notes.txt",
    'echo "I love this bicycle, it is wonderful!" | llm sentiment',
    "llm ask -m qwen3-4b hello; echo $?",
)
THEME = TerminalTheme(
    (24, 26, 31),
    (220, 223, 228),
    [
        (24, 26, 31),
        (240, 113, 120),
        (152, 195, 121),
        (229, 192, 123),
        (97, 175, 239),
        (198, 120, 221),
        (86, 182, 194),
        (220, 223, 228),
    ],
)
WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def run_command(command: str, directory: Path) -> str:
    """Return what ``command`` prints, run by a shell in ``directory`` with ``llm`` as this Python has it."""
    llm = f'llm() {{ {sys.executable} -m llmcli "$@"; }}\n'
    done = subprocess.run(
        ["/bin/sh", "-c", llm + command],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def draw_session() -> str:
    """Return the session as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "notes.txt").write_text(NOTES, encoding="utf-8")
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text(run_command(command, directory).rstrip("\n").expandtabs()))
    svg = console.export_svg(title="llm", theme=THEME, unique_id="session")
    svg = WEB_FONT.sub("", svg).replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    return svg.replace('font-family="Fira Code"', "")


def main(argv: list[str]) -> int:
    """Write the picture into the file that the command line names; returns the exit code."""
    file = Path(argv[0]) if argv else Path(__file__).parent / "images" / "session.svg"
    file.write_text(draw_session(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
