"""``llm translate`` on markup: checks, updates and two languages in AsciiDoc, LaTeX and notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from document_texts import greek
from lying_translators import well

ASCIIDOC = "== Opening hours\n\nWe open the *workshop* at `9:00`.\n\n. Bring your bicycle.\n"
LATEX = "\\begin{document}\n\\section{Opening hours}\nWe open the \\emph{workshop} at $9$.\n\nBring your bicycle.\n\\end{document}\n"
NOTEBOOK = json.dumps(
    {"cells": [
        {"cell_type": "markdown", "source": ["# Opening hours\n", "\n", "We open the *workshop* at `9:00`."]},
        {"cell_type": "code", "source": ["print('open')"], "outputs": []},
        {"cell_type": "markdown", "source": "Bring your bicycle."},
    ], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
    indent=1,
)  # fmt: skip
SOURCES = {"a.adoc": ASCIIDOC, "a.tex": LATEX, "a.ipynb": NOTEBOOK}
each_file = pytest.mark.parametrize("name", SOURCES)


@pytest.fixture
def translate(llm, tmp_path, monkeypatch):
    """Translate a file from English to Greek."""
    monkeypatch.setenv("LLMCLI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return lambda *argv, **more: llm("translate", "--from", "en", "--to", "el", *argv, **({"answer": well} | more))


DIALECTS = """# Opening hours

:::{admonition} A note
:class: tip
:name: hours

We open at noon, says @anna [@berg:1950], as in [[Hours]] and \\(x^2\\).
:::

:::{code-block} python
:linenos:
print("open") # prose is elsewhere
:::

::: shop.Hours
    options:
      members:
      - opening

--8<-- "shop/hours.md"

\\begin{align}
open &= noon
\\end{align}
"""


def test_dialects_of_markdown_keep_their_blocks(llm, tmp_path):
    """Directives of MyST, objects of mkdocstrings, included files, wiki links, citations and formulas stay."""
    (tmp_path / "a.md").write_text(DIALECTS)
    run = llm("translate", "--pseudo", "accents", str(tmp_path / "a.md"))
    assert (run.code, run.err) == (0, "")
    changed = [line for line, other in zip(DIALECTS.splitlines(), run.out.splitlines(), strict=True) if line != other]
    assert changed == [line for line in DIALECTS.splitlines() if line.startswith(("# Open", ":::{adm", "We open"))]
    for kept in ("@anna", "[@berg:1950]", "[[Hours]]", "\\(x^2\\)", ":::{admonition} "):
        assert kept in run.out


@each_file
def test_an_update_keeps_the_edits_of_people(translate, name):
    """A changed sentence is translated again, an edited one stays; the check finds nothing afterwards."""
    Path(name).write_text(SOURCES[name])
    target = f"el{Path(name).suffix}"
    assert translate(name, "-o", target).code == 0
    edited = Path(target).read_text().replace(greek("Bring your bicycle"), "Το ποδήλατο")
    Path(target).write_text(edited)
    Path(name).write_text(SOURCES[name].replace("We open", "We close"))
    run = translate(name, "--update", target)
    assert (run.code, len(run.backend.requests)) == (0, 1)
    assert Path(target).read_text() == edited.replace(greek("We open"), greek("We close"))
    assert translate("--check", name, "-o", target).code == 0


@each_file
def test_the_check_finds_what_was_lost(translate, name):
    """Code and math that a translation lacks."""
    Path(name).write_text(SOURCES[name])
    target = f"el{Path(name).suffix}"
    assert translate(name, "-o", target).code == 0
    Path(target).write_text(Path(target).read_text().replace("`9:00`", "9:00").replace("$9$", "9"))
    run = translate("--check", name, "-o", target, "--json")
    assert (run.code, json.loads(run.out.splitlines()[0])["problem"]) == (1, "damaged")


def test_two_languages_in_a_document(translate):
    """Where a translation can stand beside its source; a notebook cannot hold two languages."""
    for name, text in SOURCES.items():
        Path(name).write_text(text)
    run = translate("a.adoc", "--bilingual", "interleaved")
    hours, opened, bring = greek("Opening hours"), greek("We open the"), greek("Bring your bicycle.")
    assert run.out == (
        f"== Opening hours / {hours}\n\nWe open the *workshop* at `9:00`.\n\n{opened} *{greek('workshop')}* {greek('at')}"
        f" `9:00`.\n\n. Bring your bicycle. / {bring}\n"
    )
    assert f"\\section{{Opening hours / {hours}}}" in translate("a.tex", "--bilingual", "interleaved").out
    refused = translate("a.ipynb", "--bilingual", "interleaved")
    assert (refused.code, "cannot hold two languages" in refused.err) == (2, True)
