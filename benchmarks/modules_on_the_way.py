"""The modules of llmcli that classify, summarize, ask and translate import with a warm worker, against aims.

A stranger who follows a command from its options to its result passes these modules. Packages without code are not
counted: their ``__init__`` is one docstring. The commands have a home of their own, and the worker ends with the
script.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import common

from llmcli.app_paths import find_paths

ROOT = Path(__file__).parents[1]
AIMS = {"classify": 75, "summarize": 72, "ask": 59, "translate": 100}
_CALL = """
import json, sys
from llmcli.cli.main import main
code = main(sys.argv[2:])
files = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "llmcli"}
with open(sys.argv[1], "w") as counted:
    json.dump([code, files], counted)
"""
_ROWS = 'text\n"{}"\nI hate it\n'
_TEXT = (
    "{} The harbour was built in 1850. Ships brought grain and coal. Later the railway took over most of the trade.\n"
)
_PAGE = "# Title\n\n{}\n"
_TEXTS = ("I love it.", "Hello world, this is a text.")
"""That of the call before, which starts the worker and fills caches, and that of the call whose modules count."""


def commands(directory: Path, text: str) -> dict[str, list[str]]:
    """Return the words of each command; the inputs with ``text`` are written to the directory."""
    inputs = {"rows.csv": _ROWS, "text.txt": _TEXT, "page.md": _PAGE}
    for name, content in inputs.items():
        (directory / name).write_text(content.format(text))
    return {
        "classify": ["classify", "--labels", "good,bad", str(directory / "rows.csv")],
        "summarize": ["summarize", str(directory / "text.txt")],
        "ask": ["ask", text, "--max-tokens", "5"],
        "translate": ["translate", "--to", "fr", str(directory / "page.md")],
    }


def home(directory: Path) -> dict[str, str]:
    """Return the environment of commands with a private home in the directory."""
    runtime = directory / "run"
    runtime.mkdir(mode=0o700)
    (directory / "data").mkdir()
    (directory / "data" / "engines").symlink_to(find_paths(os.environ).engines)
    names = {f"LLMCLI_{kind}_DIR": str(directory / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
    own = {"LLMCLI_RUNTIME_DIR": str(runtime), "LLMCLI_TUNE": "off", "LLMCLI_STDIN": "off", "PYTHONPATH": str(ROOT)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMCLI_")}
    return {**kept, **names, **own}


def modules(words: list[str], environ: dict[str, str], directory: Path) -> dict[str, int]:
    """Run a command; return the modules with code that it imported, and their numbers of lines. It must succeed."""
    counted = directory / "counted.json"
    call = [sys.executable, "-c", _CALL, str(counted), *words]
    subprocess.run(call, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    code, files = json.loads(counted.read_text())
    if code != 0:
        sys.exit(f"llm {' '.join(words)}: exit {code}")
    lines = {name: len(Path(file).read_text(encoding="utf-8").splitlines()) for name, file in files.items()}
    return {name: count for name, count in sorted(lines.items()) if count > 1}


def main() -> None:
    """Run the commands and print the counts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", help="a GGUF file (default: the starter from the cache)")
    options.add_argument("--list", action="store_true", help="print the modules of each command with their lines")
    given = options.parse_args()
    model = common.model_path(given.model)
    with tempfile.TemporaryDirectory(prefix="way") as place:
        directory = Path(place)
        environ = home(directory)
        passed: dict[str, dict[str, int]] = {}
        try:
            for text in _TEXTS:
                for verb, words in commands(directory, text).items():
                    passed[verb] = modules([*words, "-m", model], environ, directory)
        finally:
            subprocess.run([sys.executable, "-m", "llmcli", "worker", "stop", "-q"], env=environ, check=True)
    if given.list:
        for verb, counts in passed.items():
            print(f"\n{verb}")
            print("\n".join(f"{count:5} {name}" for name, count in counts.items()))
    rows = [
        [f"llm {verb}", str(len(counts)), str(AIMS[verb]), str(sum(counts.values()))] for verb, counts in passed.items()
    ]
    common.print_table(rows, ["", "modules", "at most", "lines in them"])


if __name__ == "__main__":
    main()
