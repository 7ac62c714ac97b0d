"""The recorder counts results, and never keeps their texts."""

from __future__ import annotations

import json

from llmcli.cli.provenance.provenance_recorder import ResultTally
from llmcli.errors.incomplete_results import ValuesNotRestored
from llmcli.tasks.translate import incomplete_output
from llmcli.types import Result, Usage


def make_result(**more):
    return Result(0, "canary.txt", "a canary", usage=Usage(3, 0, 2), **more)


def test_what_was_cut_replaced_and_unsupported_is_counted():
    """By kinds, over all results; texts in fields and warnings are only counted."""
    tally = ResultTally()
    sentences = [{"text": "canary", "support": each} for each in ("unsupported", "weak", "unsupported")]
    tally.add(make_result(fields={"sentences": sentences}, model="big"))
    tally.add(make_result(fields={"unsupported": ["canary"], "repeated": ["canary", "canary"]}, warnings=("canary",)))
    cut = {"cut": True, "fields": {"untranslated": 2}}
    tally.add(make_result(incomplete=incomplete_output(2, 3), **cut))
    tally.add(make_result(cut=True, incomplete=ValuesNotRestored("canary", ("PII_1", "PII_2"))))
    tally.add(make_result(cut=True))
    tally.add_earlier(Usage(1, 0, 1), 4)
    assert tally.to_json() == {
        "results": 9,
        "warnings": 1,
        "unrestored": 2,
        "unsupported": 3,
        "repeated": 2,
        "untranslated": 2,
        "cut": {"LeftUndone": 1, "ValuesNotRestored": 1, "AnswerCut": 1},
    }
    assert (tally.usage.prompt_tokens, tally.usage.completion_tokens) == (16, 11)
    assert "anary" not in json.dumps(tally.to_json()) and [*tally.models] == ["big"]
