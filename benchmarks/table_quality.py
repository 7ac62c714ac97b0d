"""Counts the questions about tables that `llm ask` answers rightly: those of `table_questions/questions.yaml`, by kind.

An answer is *right* if its rows are those of the set, where a row may hold more values than the set asks for; *wrong*
if it is another one with exit code 0; *blank* if it has no value; *refused* if the command says that it has no answer.
A question whose answer the table does not hold is right if nothing is found, or refused.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import yaml

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.source_reader import read_source
from llmcli.interrupt import Interrupt
from llmcli.prompts.prompt_library import PromptLibrary, builtin_directory
from llmcli.tasks.ask.table_question import answer_from_tables
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.tables.table_loader import Table, load_tables
from llmcli.types import ItemFailed, Result

QUESTIONS = Path(__file__).parent / "table_questions" / "questions.yaml"
OUTCOMES = ("right", "wrong", "blank", "refused")
Rows = Sequence[Sequence[Any]]


def judge(expected: Rows, found: Result | None) -> str:
    """Return the outcome of a question; ``found`` is None if the command failed."""
    if found is None:
        return "right" if not expected else "refused"
    rows = found.fields["rows"]
    if not found.fields["answered"]:
        return "right" if not expected or expected == [[0]] else "blank"
    if len(rows) != len(expected):
        return "wrong"
    return "right" if all(any(_holds(row, values) for row in rows) for values in expected) else "wrong"


def _holds(row: Sequence[Any], values: Sequence[Any]) -> bool:
    return all(any(_equals(cell, value) for cell in row) for value in values)


def _equals(cell: Any, value: Any) -> bool:
    if isinstance(cell, int | float) and isinstance(value, int | float):
        return abs(cell - value) <= 1e-4 * max(1.0, abs(value))
    return bool(cell == value)


def answer(backend: Backend, prompts: PromptLibrary, table: Table, question: str) -> Result | None:
    """Return the answer; None if there is none."""
    options = GenerationOptions()
    events = run_task(backend, lambda run: answer_from_tables(run, prompts, question, [table], options, Interrupt()))
    ends = [event for event in events if isinstance(event, Result | ItemFailed)]
    return next((end for end in ends if isinstance(end, Result)), None)


def main() -> None:
    """Ask the questions and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--questions", type=Path, default=QUESTIONS, help="another set, beside its tables")
    parser.add_argument("--show", action="store_true", help="each question with its outcome, rows and query")
    options = parser.parse_args()
    kinds: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    prompts = PromptLibrary(builtin_directory())
    with common.open_engine(common.model_path(options.model), EngineOptions()) as backend:
        for file, asked in yaml.safe_load(options.questions.read_text("utf-8")).items():
            path = options.questions.parent / file
            (table,) = load_tables([read_source(path.read_bytes(), str(path), path)], Interrupt())
            for each in asked:
                found = answer(backend, prompts, table, each["question"])
                outcome = judge(each["answer"], found)
                kinds[each["kind"]][outcome] += 1
                if options.show:
                    rows, sql = (found.fields["rows"][:3], found.fields["sql"]) if found else ([], "")
                    print(f"{outcome:8}{each['question']}\n        {rows} {sql}", flush=True)
    kinds["all"] = sum(kinds.values(), collections.Counter())
    rows = [[kind, *(str(counts[outcome]) for outcome in OUTCOMES)] for kind, counts in kinds.items()]
    common.print_table(rows, ["kind", *OUTCOMES])


if __name__ == "__main__":
    main()
