"""Measures the cost of an audit and what it finds: `llm audit` of the shipped templates, with the words that --swap knows.

"unique" are the tokens that must be evaluated at least: those of all prompts, of which a common beginning counts once. An
audit of 50 templates and 8 groups may evaluate at most 1.3 times as many. "planted" and "fair" are audits of a scripted
model: its probability for a template is drawn from .2 to .8, that of a text has normal noise of .05, and in planted audits
one group gets .1 more. An alarm is a significant shift in any group.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.records.record import Record
from llmcli.engine.engine import Engine
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.audit import Audit, AuditOptions
from llmcli.tasks.audit.group_shifts import GroupShift, measure_shifts
from llmcli.tasks.audit.swap_file import parse_swap_file, read_bundled, read_templates
from llmcli.tasks.audit.swapper import swap_records
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.filter import PROMPT as FILTER_PROMPT
from llmcli.tasks.filter import FilterQuery, FilterSpec
from llmcli.tasks.labels.label_set import parse_label_names
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import sentiment_spec
from llmcli.types import Request, Result

TEMPLATES, GROUPS, SHIFT, NOISE = 50, 8, 0.1, 0.05
SHIFTED = 3
"""The group that a planted audit shifts."""


class RecordingEngine(Engine):
    """An engine that keeps the tokens of its prompts."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.tokens: list[Sequence[int]] = []
        super().__init__(*given, **named)

    def submit(self, request: Request, sink: Any) -> None:
        """Queue a request."""
        found, _ = self._tokenize_prompt(request)
        self.tokens.append(found[0])
        super().submit(request, sink)


def count_unique(sequences: Sequence[Sequence[int]]) -> int:
    """Return the number of different beginnings: the tokens of the sequences, common ones once."""
    previous: Sequence[int] = ()
    unique = 0
    for tokens in sorted(map(tuple, sequences)):
        shared = 0
        for one, other in zip(previous, tokens, strict=False):
            if one != other:
                break
            shared += 1
        unique += len(tokens) - shared
        previous = tokens
    return unique


def measure_tokens(model: str) -> list[list[str]]:
    """Return a row for each verb: evaluated and unique tokens of its audit with names, and their ratio."""
    prompts = PromptLibrary(Path("none"))
    specs = {
        "sentiment": sentiment_spec(prompts),
        "classify": ClassifySpec(prompts.get(PROMPT), parse_label_names("order,work,home,health")),
        "filter": FilterSpec(prompts.get(FILTER_PROMPT), FilterQuery("the person is at fault")),
    }
    swaps = parse_swap_file(read_bundled("names"), "names")
    records = [Record(at, text, at + 1) for at, text in enumerate(read_templates().splitlines())]
    rows = []
    for name, spec in specs.items():
        with tempfile.TemporaryDirectory() as kept:
            engine = RecordingEngine(
                Path(model), "m", common.model_id(model), EngineOptions(cache=Path(kept)), lambda: None
            )
            try:
                audit = Audit(swap_records(records, swaps), swaps, AuditOptions())
                task = spec.make_task(spec.make_scorer(engine, GenerationOptions()))
                (result,) = [each for each in audit.run(engine, task) if isinstance(each, Result)]
            finally:
                engine.close()
        evaluated = result.usage.prompt_tokens - result.usage.cached_tokens
        unique = count_unique(engine.tokens)
        rows.append([name, str(evaluated), str(unique), f"{evaluated / unique:.2f}"])
    return rows


def run_scripted(seed: int, shift: float) -> list[GroupShift]:
    """Return the shifts of one audit of the scripted model."""
    random = np.random.default_rng(seed)
    found = random.uniform(0.2, 0.8, (TEMPLATES, 1)) + random.normal(0, NOISE, (TEMPLATES, GROUPS))
    found[:, SHIFTED] += shift
    return measure_shifts(found[:, :, None], ["match"], [str(group) for group in range(GROUPS)])


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--audits", type=int, default=1000, help="planted and fair audits (default: 1000)")
    options = parser.parse_args()
    common.print_table(measure_tokens(common.model_path(options.model)), ["verb", "evaluated", "unique", "ratio"])
    planted = [run_scripted(seed, SHIFT)[SHIFTED] for seed in range(options.audits)]
    fair = [any(each.is_significant for each in run_scripted(seed, 0.0)) for seed in range(options.audits)]
    found = sum(each.is_significant for each in planted)
    rows = [["planted", f"{found} of {options.audits} found"], ["fair", f"{sum(fair)} of {options.audits} alarms"]]
    covered = sum(e.estimate is not None and e.estimate.low <= SHIFT <= e.estimate.high for e in planted)
    rows.append(["95% intervals", f"{covered} of {options.audits} hold the planted shift"])
    common.print_table(rows, ["scripted model", ""])


if __name__ == "__main__":
    main()
