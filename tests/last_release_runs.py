"""Runs whose saved states stand in ``last_release``: what each command is given, and the answers of the model.

The files there were written by the code of the last release from these runs: a calibration for each command, and the
unfinished job of each. Their prompts are copies, so that a change of a built-in prompt does not change their identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scripted import LayerStates, ScriptedBackend, last_message

from llmcli.errors import InternalError

FILES = Path(__file__).with_name("last_release")
LAYERS = 30


class LastReleaseBackend(ScriptedBackend):
    """A model with the name that the saved states have, wherever its file is."""

    def __init__(self, *args, model: str, **how) -> None:
        del model
        super().__init__(*args, model="last-release", layers=LAYERS, **how)


def text_of(request) -> str:
    """Return the text that is to be labelled."""
    return last_message(request).rpartition("Text:")[2].strip().rpartition("\n")[0].strip()


def answer(request):
    """Return hidden states of three numbers, which the text determines, and scores that follow from its words."""
    text = text_of(request)
    random = np.random.default_rng(sum(map(ord, text)))
    sign = 1.0 if "bug" in text else -1.0
    told = random.normal(0, 0.4) if "perhaps" in text else sign + random.normal(0, 0.7)
    states = np.array([told, *random.normal(0, 1.0, 2)], "<f4").tobytes()
    share = 0.8 if "perhaps" in text else 0.05
    scores = {name: share * (1 if "bug" in text else -1) / (place + 1) for place, name in enumerate(request.candidates)}
    return LayerStates(lambda _layer: states, scores) if request.hidden_states else scores


def failing_answer(request):
    """Return the answer, or the error that ends the job at a text with "boom"."""
    return InternalError(detail="boom") if "boom" in text_of(request) else answer(request)


@dataclass
class LabelRun:
    """A command that labels, and the labels of its rows: those of a bug, and those of an idea."""

    argv: tuple[str, ...]
    labels: tuple[str, str]
    more: tuple[str, ...] = ()
    """Options that a calibration excludes."""
    calibrated: tuple[str, ...] = ()
    """Options of the runs with a calibration alone."""


RUNS: Mapping[str, LabelRun] = {
    "classify": LabelRun(("classify", "--labels", "bug,idea,praise"), ("bug", "idea"), ("--threshold", "0.4")),
    "examples": LabelRun(
        ("classify", "--labels", "bug,idea"),
        ("bug", "idea"),
        ("--examples", str(FILES / "many_examples.csv")),
        ("--examples", str(FILES / "examples.csv")),
    ),
    "multi": LabelRun(("classify", "--labels", "bug,idea", "--multi"), ('"bug, idea"', "")),
    "sentiment": LabelRun(("sentiment", "--scale", "5"), ("negative", "positive")),
    "filter": LabelRun(("filter", "it is a bug", "--not", "it is an idea"), ("yes", "no")),
}


def texts(first: int, last: int) -> list[tuple[str, str]]:
    """Return texts, and whether each is a bug or an idea; every fifth is unclear."""
    return [
        (f"a {kind} {number}{' perhaps' if number % 5 == 0 else ''}", kind)
        for number in range(first, last)
        for kind in ("bug", "idea")
    ]


def labelled_rows(run: LabelRun) -> str:
    """Return the rows of --calibrate: what the states tell, with a few exceptions."""
    rows = texts(0, 30)
    names = {"bug": run.labels[0], "idea": run.labels[1]}
    swapped = {"bug": run.labels[1], "idea": run.labels[0]}
    lines = [f"{text},{(swapped if place % 14 == 3 else names)[kind]}\n" for place, (text, kind) in enumerate(rows)]
    return "text,label\n" + "".join(lines)


def records() -> str:
    """Return the records to label: the tenth one ends the first run of a job."""
    lines = [f"{text}\n" for text, _ in texts(50, 60)]
    return "text\n" + "".join([*lines[:9], "a bug boom\n", *lines[9:]])
