"""Labels of a model come from one type of weights, chosen at the first ones; a change is told in one line."""

from __future__ import annotations

import hashlib
import os
import shlex

import pytest
from engine.profiles import weights_table

from llmcli.app_paths import find_paths, tuning_file
from llmcli.engine import derivation
from llmcli.engine.llama import bindings
from llmcli.errors.model_errors import NoRoomForWeights
from llmcli.runtime import model_weights
from llmcli.weights_times import dump_profile

CHANGED = "tiny: these labels come from bf16 weights, earlier ones from original weights; some may differ"

FASTER = "bf16 weights label 3.0 times as fast as the original weights of its labels so far; to change to them, "


@pytest.fixture
def label(llm, mine):
    """Label two lines with the user's own model; returns the weights of the engine and what stderr says about them."""

    def run(*argv, verb="sentiment", stdin=b"fine\nbad\n", **env):
        answer = lambda request: dict.fromkeys(request.candidates, -1.0)  # noqa: E731 (of equal labels the first)
        done = llm(verb, *argv, stdin=stdin, answer=answer, env={"LLMCLI_MODEL": str(mine)} | env)
        assert done.code == 0, done.err
        return llm.options.weights, [line for line in done.err.splitlines() if "weights" in line]

    return run


@pytest.fixture
def measure(monkeypatch):
    """Return a function that stores a measurement in which BF16 labels three times as fast, or takes ``bf16`` s."""

    def store(model_id, bf16=1 / 900):
        times = {"original": (1 / 300,) * 4, "bf16": (bf16,) * 4}
        table = weights_table(**times)
        path = tuning_file(find_paths(os.environ).cache, model_id, None)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump_profile({"weights": table.to_json(), "choices": table.choices()}))

    return store


@pytest.mark.slow
def test_a_measurement_between_two_commands_changes_no_labels(label, measure, mine, write):
    """The weights of the first labels stay, whatever the size of the input and the verb."""
    model_id = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert label("--set", "weights=bf16") == ("bf16", [])  # makes the copy, and is no choice of llm's
    assert label() == ("original", [])
    measure(model_id)
    weights, (line,) = label()
    assert weights == "original" and FASTER in line
    assert label(write("many.txt", "fine and well\n" * 3000)) == ("original", [])
    assert label("--labels", "a,b", verb="classify") == ("original", [])


def test_faster_weights_are_named_once_with_the_command(label, measure, mine):
    """By the first labels after the measurement, and only where llm chooses the weights and may copy them."""
    model_id = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert label() == ("original", [])
    measure(model_id)
    assert label("--set", "weights=original") == ("original", [])
    assert label(LLMCLI_DERIVED_WEIGHTS="0") == ("original", [])
    weights, (line,) = label("--labels", "a,b", verb="classify")
    assert weights == "original" and FASTER in line and f": llm models tune {shlex.quote(str(mine))}" in line
    assert label() == ("original", [])


def test_a_small_gain_is_not_named(label, measure, mine):
    """Nor a measurement that is damaged."""
    model_id = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert label() == ("original", [])
    measure(model_id, bf16=1 / 440)
    assert label() == ("original", [])
    tuning_file(find_paths(os.environ).cache, model_id, None).write_bytes(b"[]")
    assert label() == ("original", [])
    measure(model_id, bf16=1 / 460)
    _, (line,) = label()
    assert " 1.5 times as fast " in line


def test_the_measured_choice_labels_if_it_was_there_first(label, measure, mine):
    """And stays when the measurement is gone."""
    model_id = hashlib.sha256(mine.read_bytes()).hexdigest()
    label("--set", "weights=bf16")
    measure(model_id)
    assert label() == ("bf16", [])
    tuning_file(find_paths(os.environ).cache, model_id, None).unlink()
    assert label() == ("bf16", [])


def test_a_change_is_told_in_one_line(label, mine):
    """With ``--set weights``, which counts for its own run only, and where a copy is gone."""
    assert label() == ("original", [])
    weights, (line,) = label("--set", "weights=bf16")
    assert weights == "bf16" and line.endswith(CHANGED.removeprefix("tiny"))
    assert label() == ("original", [])


def test_damage_means_a_new_choice(label, mine):
    """A file that cannot be read is written again."""
    assert label() == ("original", [])
    cache, model_id = find_paths(os.environ).cache, hashlib.sha256(mine.read_bytes()).hexdigest()
    (file,) = (cache / "labels").iterdir()
    for content in (b"", b"[]", b'{"weights": "q9"}'):
        file.write_bytes(content)
        assert label() == ("original", [])
        assert model_weights.load_choice(cache, model_id) == "original"


@pytest.mark.parametrize(("features", "weights"), [("AVX512_BF16 = 1 | ", "bf16"), ("", "f16")])
def test_without_a_measurement_weights_of_16_bits_label(label, mine, monkeypatch, features, weights):
    """The copy is made before the first record, and again where it is gone; later labels come from the same type."""
    monkeypatch.setattr(bindings, "system_info", lambda: f"AVX2 = 1 | {features}F16C = 1")
    assert label(LLMCLI_TUNE="auto") == (weights, [])
    store = find_paths(os.environ).cache / "derived"
    (copy,) = store.glob("*.gguf")
    copy.unlink()
    monkeypatch.setattr(bindings, "system_info", lambda: "NEON = 1")
    assert label("--labels", "a,b", verb="classify", LLMCLI_TUNE="auto") == (weights, [])
    assert list(store.glob("*.gguf")) == [copy]


@pytest.mark.parametrize(
    ("features", "env"),
    [
        ("NEON = 1", {"LLMCLI_TUNE": "auto"}),
        ("AVX2 = 1", {"LLMCLI_TUNE": "off"}),
        ("AVX2 = 1", {"LLMCLI_TUNE": "auto", "LLMCLI_DERIVED_WEIGHTS": "0"}),
    ],
)
def test_where_no_copy_may_be_made_the_original_labels(label, mine, monkeypatch, features, env):
    """Or where nothing is known about the processor."""
    monkeypatch.setattr(bindings, "system_info", lambda: features)
    assert label(**env) == ("original", [])
    monkeypatch.setattr(bindings, "system_info", lambda: "AVX2 = 1")
    assert label(LLMCLI_TUNE="auto") == ("original", [])


def test_a_copy_that_cannot_be_made_is_told(label, mine, monkeypatch):
    """The original weights label, and later ones too."""
    monkeypatch.setattr(bindings, "system_info", lambda: "AVX2 = 1")

    def refuse(*_args, **_options):
        raise NoRoomForWeights("tiny", needed=10, available=1)

    usual = derivation.derive_copy
    monkeypatch.setattr(derivation, "derive_copy", refuse)
    weights, lines = label("-v", LLMCLI_TUNE="auto")
    assert weights == "original" and any("no copy in f16 can be made" in line for line in lines)
    monkeypatch.setattr(derivation, "derive_copy", usual)
    assert label(LLMCLI_TUNE="auto")[0] == "original"
