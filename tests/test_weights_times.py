"""The choice of weights for a job from measured times."""

from __future__ import annotations

import dataclasses
import json

import pytest
from engine.profiles import weights_table

from llmcli.app_paths import tuning_file
from llmcli.weights_times import REPRESENTATIVE_JOBS, JobSize, StepTimes, WeightsTable, dump_profile, load_weights_table

STARTER = {
    "original": (1 / 384, 1 / 151, 1 / 235, 1 / 216),
    "bf16": (1 / 937, 1 / 103, 1 / 321, 1 / 429),
    "q8_0": (1 / 759, 1 / 138, 1 / 350, 1 / 424),
}
"""Seconds a token of the starter on a processor with AVX-512."""
ALL = tuple(STARTER)
QUESTION, DOCUMENT, RECORDS = JobSize(40, 64), JobSize(4096, 128), JobSize(8000, 0, 16)


def test_the_seconds_of_a_step_lie_between_the_measured_ones():
    """The measured numbers of rows are exact, others are interpolated, and more rows take in proportion."""
    times = StepTimes(prompt=0.01, single=0.1, batch=0.02, wide=0.015)
    assert [times.step_seconds(rows) for rows in (1, 16, 32, 512)] == pytest.approx([0.1, 0.32, 0.48, 5.12])
    assert times.step_seconds(1024) == pytest.approx(10.24)
    steps = [times.step_seconds(rows) for rows in range(1, 600)]
    assert steps == sorted(steps)


def test_a_job_takes_its_prompts_and_its_steps():
    """Prompts are evaluated in batches of 512, answers in steps of as many tokens as sequences run at once."""
    times = StepTimes(prompt=0.01, single=0.1, batch=0.02, wide=0.015)
    assert JobSize(512, 0).seconds(times) == pytest.approx(5.12)
    assert JobSize(0, 10).seconds(times) == pytest.approx(1.0)
    assert JobSize(0, 160, 16).seconds(times) == pytest.approx(10 * 0.32)
    assert JobSize(600, 5).seconds(times) == pytest.approx(5.12 + times.step_seconds(88) + 0.5)


@pytest.mark.parametrize(
    ("job", "weights"), [(QUESTION, "original"), (DOCUMENT, "bf16"), (RECORDS, "bf16"), (JobSize(0, 2000, 16), "q8_0")]
)
def test_each_job_gets_its_fastest_weights(job, weights):
    """A lone short answer keeps the file's own, a document and records get the type that is best at prompts."""
    assert weights_table(**STARTER).choose(job, ALL, ALL) == weights


def test_only_available_copies_are_chosen():
    """A type that was measured, and whose copy is not there, is out of the question."""
    table = weights_table(**STARTER)
    assert table.choose(RECORDS, ["q8_0"], ALL) == "q8_0"
    assert table.choose(RECORDS, [], ALL) == "original"


def test_loading_counts():
    """A copy that has to be loaded first is not worth it for a small job, unless the original has to be loaded too."""
    table = weights_table(original=(0.01, 0.1, 0.1, 0.1), bf16=(0.005, 0.1, 0.1, 0.1))
    slow = WeightsTable({name: dataclasses.replace(each, load_s=5.0) for name, each in table.types.items()})
    assert slow.choose(JobSize(512, 0), ALL, ["original"]) == "original"
    assert slow.choose(JobSize(512, 0), ALL, ["original", "bf16"]) == "bf16"
    assert slow.choose(JobSize(512, 0), ALL) == "bf16"
    assert slow.choose(JobSize(5000, 0), ALL, ["original"]) == "bf16"


def test_a_file_whose_own_type_is_about_the_best_is_kept():
    """Q4_0 as measured: BF16 prompts are 6 percent faster, which is not worth a copy."""
    table = weights_table(original=(1 / 883, 1 / 214, 1 / 370, 1 / 456), bf16=STARTER["bf16"], q8_0=STARTER["q8_0"])
    assert set(table.choices().values()) == {"original"}


@pytest.mark.parametrize(
    ("own", "other", "faithful"),
    [(0.001, 0.005, True), (0.001, 0.0051, False), (0.01, 0.015, True), (0.01, 0.0151, False), (0.0024, 0.27, False)],
)
def test_a_type_is_used_only_if_it_is_faithful(own, other, faithful):
    """Its divergence is at most .005, or 1.5 times that of the file itself."""
    table = weights_table({"original": own, "bf16": other}, original=(1.0,) * 4, bf16=(0.1,) * 4)
    assert ("bf16" in table.faithful) is faithful
    assert (table.choose(DOCUMENT, ["bf16"], ["bf16"]) == "bf16") is faithful


@pytest.mark.parametrize(("own", "other", "used"), [(0.004, 0.004, True), (0.004, 0.0045, False), (0.0, 0.001, False)])
def test_records_are_scored_by_types_that_diverge_no_more_than_the_file(own, other, used):
    """Their probabilities are the result itself, not only what a token is chosen by."""
    table = weights_table({"original": own, "bf16": other}, original=(1.0,) * 4, bf16=(0.1,) * 4)
    assert (table.choose(RECORDS, ["bf16"], ["bf16"]) == "bf16") is used
    assert table.choose(DOCUMENT, ["bf16"], ["bf16"]) == "bf16"


@pytest.mark.parametrize("divergences", [{"original": None, "bf16": 0.001}, {"original": 0.1, "bf16": None}])
def test_what_was_not_compared_is_not_used(divergences):
    """Without both divergences, speed alone decides nothing."""
    table = weights_table(divergences, original=(1.0,) * 4, bf16=(0.1,) * 4)
    assert table.faithful == ("original",)


def test_a_type_that_is_exact_needs_no_comparison():
    """A large model is timed by slices, which cannot tell how far the file diverges."""
    table = weights_table({"original": None, "bf16": 0.0}, original=(1.0,) * 4, bf16=(0.1,) * 4)
    assert table.faithful == ("original", "bf16")
    assert table.choose(RECORDS, ["bf16"], ["bf16"]) == "bf16"


def test_every_kind_of_work_has_a_choice():
    """The table of ``llm models tune`` names the weights for each."""
    assert weights_table(**STARTER).choices() == {
        "short answers": "original",
        "long prompts": "bf16",
        "16 at once": "q8_0",
        "scoring": "bf16",
    }
    assert set(REPRESENTATIVE_JOBS) == set(weights_table(**STARTER).choices())


def test_a_table_survives_its_file(tmp_path):
    """What was written is read."""
    table = weights_table({"q8_0": None}, **STARTER)
    path = tuning_file(tmp_path, "5" * 64, None)
    path.parent.mkdir()
    path.write_bytes(dump_profile({"weights": table.to_json()}))
    assert load_weights_table(path) == table and path.name == f"{'5' * 32}-auto.json"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"format": 0, "weights": {}}',
        b'{"format": 1}',
        b'{"format": 1, "weights": []}',
        b'{"format": 1, "weights": {}}',
        b'{"format": 1, "weights": {"original": {}}}',
        b'{"format": 1, "weights": {"original": {"size": 1, "times": {"prompt": -1}, "load_s": 0, "divergence": 0}}}',
    ],
)
def test_a_damaged_file_is_ignored(tmp_path, content):
    """Whatever stands in the file, it is no table, and no error."""
    path = tmp_path / "p.json"
    path.write_bytes(content)
    assert load_weights_table(path) is None
    assert load_weights_table(tmp_path / "missing") is None and load_weights_table(tmp_path) is None


def test_another_format_is_ignored(tmp_path):
    """A file of another version of llmcli is not misread."""
    data = json.loads(dump_profile({"weights": weights_table(**STARTER).to_json()}))
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data))
    assert load_weights_table(path) is not None
    path.write_text(json.dumps(data | {"format": data["format"] + 1}))
    assert load_weights_table(path) is None
