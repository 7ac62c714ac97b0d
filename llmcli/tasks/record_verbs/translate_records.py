"""translate, for records: columns in other languages, each text as a document of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import TEXT_COLUMN, Record, Row, find_field, value_as_text
from llmcli.frozen_dataclass import frozen, replace
from llmcli.prompts.contracts import ROW_VARIABLE
from llmcli.tasks.execution.document_jobs import DocumentJob, JobStep
from llmcli.tasks.translate import PROMPT, make_translation_job
from llmcli.tasks.translation.languages import Language
from llmcli.tasks.translation.per_file.memory_cache import TranslationMemoryCache
from llmcli.tasks.translation.per_file.target_file import TranslationJob
from llmcli.tasks.translation.translator import Translator
from llmcli.types import Delta, Event, Notice, Result, Timings, Usage

_FORMAT = "plain"


@frozen
class TranslatedColumn:
    """The translation of ``source``, "" for the text of a template, goes into the column ``name``."""

    source: str
    name: str
    translator: Translator


def translated_columns(columns: Sequence[str], translators: Sequence[Translator]) -> list[TranslatedColumn]:
    """Return a column ``COLUMN_LANGUAGE`` for each text column and language; without columns, ``text_LANGUAGE``."""
    return [
        TranslatedColumn(column, f"{column or TEXT_COLUMN}_{translator.target.code}", translator)
        for column in columns or [""]
        for translator in translators
    ]


class TranslateVerb:
    """Translates columns of each record; the source columns stay.

    ``source`` is the language of all texts, None: detected for each. Translations in ``memory`` need no model.
    """

    single_request = False

    def __init__(
        self, columns: Sequence[TranslatedColumn], source: Language | None, memory: TranslationMemoryCache
    ) -> None:
        self.columns: Mapping[str, type] = {column.name: str for column in columns}
        self._columns = columns
        self._source = source
        self._memory = memory

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job of all translations of a record."""
        jobs = {}
        for number, column in enumerate(self._columns):
            text = value_as_text(find_field(record.fields, column.source)) if column.source else record.text
            translator = column.translator
            if translator.prompt.uses(ROW_VARIABLE):
                translator = replace(translator, row=Row(record.fields))
            job = TranslationJob(Document(record.name, text), translator, self._source, _FORMAT)
            item = record.index * len(self._columns) + number
            jobs[column.name] = make_translation_job(job, item, self._memory)
        return _RecordTranslation(record, jobs)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        return Result(record.index, record.name, None, prompt=PROMPT, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the translations."""
        return {name: result.fields.get(name) for name in self.columns}

    def line(self, result: Result) -> str:
        """Return the translations, separated by tabs."""
        return "\t".join(result.fields.get(name) or "" for name in self.columns)


class _RecordTranslation:
    """The translations of one record; a failure of one is that of the record."""

    step = ""

    def __init__(self, record: Record, jobs: Mapping[str, DocumentJob]) -> None:
        self.item = record.index
        self.name = record.name
        self._jobs = jobs
        self._names = {job.item: name for name, job in jobs.items()}
        self._results: dict[str, Result] = {}

    def start(self) -> Iterator[JobStep]:
        """Begin all translations."""
        for name, job in self._jobs.items():
            yield from self._collect(name, job.start())

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of one of the translations."""
        name = self._names[int(event.id.partition(".")[0])]
        yield from self._collect(name, self._jobs[name].handle_event(event))

    def _collect(self, name: str, steps: Iterator[JobStep]) -> Iterator[JobStep]:
        for step in steps:
            if isinstance(step, Result):
                self._results[name] = step
                if len(self._results) == len(self._jobs):
                    yield self._combined_result()
            elif isinstance(step, Notice):
                continue  # the result has the same as a warning
            elif not isinstance(step, Delta):
                yield step

    def _combined_result(self) -> Result:
        results = [self._results[name] for name in self._jobs]
        incomplete = next((result for result in results if result.cut), results[0])
        return Result(
            self.item,
            self.name,
            None,
            fields={name: self._results[name].text for name in self._jobs},
            model=next((result.model for result in results if result.model), ""),
            prompt=PROMPT,
            finish_reason=incomplete.finish_reason,
            usage=sum((result.usage for result in results), Usage()),
            timings=_combined_timings(results),
            warnings=tuple(warning for result in results for warning in result.warnings),
            cut=incomplete.cut,
            incomplete=incomplete.incomplete,
        )


def _combined_timings(results: Sequence[Result]) -> Timings:
    """Return the timings of translations that ran concurrently."""
    firsts = [each.timings.first_token_s for each in results if each.timings.first_token_s is not None]
    return Timings(min(firsts, default=None), max(each.timings.total_s for each in results))
