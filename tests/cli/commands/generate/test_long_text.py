"""``llm generate report|article|book|slides`` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from long_text_answers import LongTextModel
from scripted import Reply, last_message

from llmcli.types import FinishReason

OUTLINE = """\
# Heat pumps in old houses

## Heat loss (100 words)
- walls and windows

## Costs (100 words)
- purchase and installation
- running costs
"""
NOTES = """\
# A study of heat pumps

The study measured 45 houses between 2019 and 2023. A heat pump with radiators of 55 degrees saved 38 percent of the energy.

Purchase and installation of a heat pump cost 21,400 euros on average in these houses.
"""


@pytest.fixture
def model():
    """What the scripted model writes."""
    return LongTextModel()


def sentences_of(text):
    """Return the sentences of the prose."""
    return [each for line in text.splitlines() if line and line[0] != "#" for each in re.findall(r"[^.]+\.", line)]


def test_a_report_from_a_topic(llm, model, tmp_path):
    """An outline is made, every section of it has its text, no sentence is there twice, and the length is kept."""
    path = tmp_path / "report.md"
    run = llm("generate", "report", "Heat pumps", "--words", "900", "-o", str(path), answer=model, context=8192)
    assert (run.code, run.out, run.err) == (0, "", "")
    text = path.read_text()
    assert text.startswith("# Heat pumps\n\n## ") and text.count("\n## ") == 2
    sentences = sentences_of(text)
    assert len(sentences) == len(set(sentences))
    assert 810 <= sum(len(each.split()) for each in sentences) <= 990
    assert not Path(f"{path}.job.json").exists()


def test_the_text_goes_to_standard_output(llm, model, write):
    """Without -o; nothing else is there."""
    run = llm("generate", "report", "--outline", write("outline.md", OUTLINE), answer=model, context=8192)
    assert run.code == 0 and run.err == ""
    assert [line for line in run.out.splitlines() if line.startswith("#")] == [
        "# Heat pumps in old houses",
        "## Heat loss",
        "## Costs",
    ]
