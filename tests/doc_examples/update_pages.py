"""Write what the examples print now into the pages: ``python tests/doc_examples/update_pages.py [PAGE]...``.

Only outputs that differ in more than what changes from run to run are written. Read the difference before you commit
it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tiny_models  # noqa: E402 (the path is set above)
from doc_examples.example_terminal import normalize  # noqa: E402 (after the path is set)
from doc_examples.example_world import Surroundings  # noqa: E402 (as above)
from doc_examples.page_examples import BLOCKS, EXAMPLES  # noqa: E402 (as above)

from llmcli.engine_library import LIBRARY_VARIABLE, find_library  # noqa: E402 (as above)


def update_page(surroundings: Surroundings, page: str) -> int:
    """Write the outputs of one page; return how many differed."""
    world, file, changed = surroundings.world(page), ROOT / page, 0
    for block in (block for block in EXAMPLES if block.page == page and block.kind == "console"):
        for number, command in enumerate(block.commands()):
            got = world.result(block, number).screen
            if normalize(got) != normalize(command.shown):
                before = f"$ {command.typed}\n{command.shown}"
                text = file.read_text(encoding="utf-8")
                file.write_text(text.replace(before, f"$ {command.typed}\n{got}", 1), encoding="utf-8")
                changed += 1
    return changed


def main(pages: list[str]) -> None:
    """Update the pages that are named, or all."""
    library = find_library(os.environ)
    if library is not None and not library.is_compiled:
        os.environ[LIBRARY_VARIABLE] = str(library.directory)  # the examples have directories of their own
    for name in [name for name in os.environ if name.startswith(("LLMCLI_", "HF_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as directory:
        ((_, model),) = tiny_models.make(directory, ["llama"])
        surroundings = Surroundings(Path(directory), Path(model))
        try:
            for page in pages or BLOCKS:
                print(f"{page}: {update_page(surroundings, page)} changed")
        finally:
            surroundings.close()


if __name__ == "__main__":
    main(sys.argv[1:])
