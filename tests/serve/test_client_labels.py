"""Labels of a client of ``llm serve`` are those of a command on the server's machine."""

from __future__ import annotations

import json

import pytest

from .conftest import serving
from .test_self_backend import local, there

__all__ = ["there"]


@pytest.fixture(scope="module")
def served(tiny):
    with serving(tiny("chatml")) as server:
        yield server


TEXTS = "text\n" + "".join(f"text {number} which is {word}\n" for number, word in enumerate(("good", "bad", "new") * 4))
LABELLED = "text,label\n" + "".join(
    f"a {word} text {number},{word}\n" for number in range(8) for word in ("good", "bad")
)
LABEL_COMMANDS = {
    "sentiment": ("sentiment",),
    "classify": ("classify", "--labels", "good,bad"),
    "several labels": ("classify", "--multi", "--labels", "good,bad"),
    "nearest examples": ("classify", "--labels", "good,bad", "--examples", "LABELLED"),
    "calibration": ("classify", "--labels", "good,bad", "--calibrate", "LABELLED"),
    "filter": ("filter", "it is good", "--threshold", "0"),
}


@pytest.mark.parametrize("command", LABEL_COMMANDS.values(), ids=[*LABEL_COMMANDS])
def test_labels_are_those_of_the_server_s_machine(served, there, tmp_path, command):
    """Byte for byte, with all digits in --json, where no way of scoring is named; nothing is on stderr."""
    labelled, texts = tmp_path / "labelled.csv", tmp_path / "texts.csv"
    labelled.write_text(LABELLED)
    texts.write_text(TEXTS)
    argv = [str(labelled) if word == "LABELLED" else word for word in command]
    argv.append("-q")  # without the warning about labels of small models
    assert there(*argv, str(texts)) == (local(served, *argv, str(texts)), "")
    found, here = (
        [_plain_label(json.loads(line)) for line in out.splitlines()]
        for out in (there(*argv, str(texts), "--json")[0], local(served, *argv, str(texts), "--json"))
    )
    assert found == here and len(found) == TEXTS.count("\n") - 1
    assert found[0]["weights"] == "original" and found[0]["warnings"] == [] and "scoring" not in found[0]


def _plain_label(record):
    """Return what a label's record says, without the name of the model's file and what differs from run to run."""
    return {name: value for name, value in record.items() if name not in {"model", "timings", "usage"}}


def test_long_documents_are_split_where_they_are_split_here(served, there, tmp_path):
    """Prompts are counted by the server, exactly."""
    text = tmp_path / "long.txt"
    text.write_text("\n\n".join(f"It is {word} in you, and more of it. " * 40 for word in ("good", "bad") * 6))
    argv = ("sentiment", "--by", "document", str(text))
    assert there(*argv)[0] == local(served, *argv)


def test_other_weights_than_the_server_s_are_refused(there):
    """69: which weights label is chosen at the server."""
    err = there("sentiment", "--set", "weights=q8_0", code=69, stdin="good\n")[1]
    assert "original weights" in err


@pytest.mark.parametrize("command", ["classify", "filter"])
def test_the_warning_about_small_models_names_the_model_and_its_server(served, there, command):
    """Both, since the name of a server says nothing of its model."""
    said = there(*LABEL_COMMANDS[command], stdin="a text\n")[1]
    assert f"labels of a model as small as {served.models()[0]} on own (" in said, said


@pytest.mark.parametrize("option", ["--eval", "--calibrate"])
def test_reports_on_the_server_s_labels_have_no_warnings(there, tmp_path, option):
    """They are those of its machine."""
    labelled = tmp_path / "labelled.csv"
    labelled.write_text(LABELLED)
    out = there("classify", "--labels", "good,bad", option, str(labelled), "--json")[0]
    assert json.loads(out)["warnings"] == []
