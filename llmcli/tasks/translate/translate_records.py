"""translate, for records: columns in other languages, each text as a document of its own."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import TEXT_COLUMN, Record, Row, find_field, value_as_text
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts.prompt_file import ROW_VARIABLE
from llmcli.tasks.languages import Language
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.work_estimate import WorkEstimate, sum_work
from llmcli.tasks.translate import PROMPT, translate_file
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Result, TaskEvent, Timings

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


class TranslateVerb(RecordProcessor):
    """Translates columns of each record; the source columns stay.

    ``source`` is the language of all texts, None: detected for each. Translations in ``memory`` need no model.
    """

    def __init__(
        self, columns: Sequence[TranslatedColumn], source: Language | None, memory: TranslationMemoryCache
    ) -> None:
        self.columns = {column.name: str for column in columns}
        self._columns = columns
        self._source = source
        self._memory = memory

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the translations of a record; a failure of one is that of the record."""
        results = await run.gather(
            self._translate_column(run, record, number, column) for number, column in enumerate(self._columns)
        )
        incomplete = next((result for result in results if result.cut), results[0])
        model = next((result.model for result in results if result.model), "")
        return Result(
            run.item,
            run.name,
            None,
            fields={column.name: result.text for column, result in zip(self._columns, results, strict=True)},
            model=model,
            prompt=PROMPT,
            finish_reason=incomplete.finish_reason,
            usage=run.usage.usage,
            timings=run.usage.timings if model else Timings(),
            warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
            cut=incomplete.cut,
            incomplete=incomplete.incomplete,
        )

    def estimate(self, record: Record) -> WorkEstimate:
        """Return the work for all columns of a record."""
        from llmcli.tasks.translate.translation_estimate import estimate_translation

        works = [estimate_translation(self._make_spec(record, column), self._memory).work for column in self._columns]
        return sum_work(record.name, works)

    async def _translate_column(self, run: TaskRun, record: Record, number: int, column: TranslatedColumn) -> Result:
        spec = self._make_spec(record, column)
        key = str(record.index * len(self._columns) + number)
        result, _ = await translate_file(run, spec, self._memory, key=key, show=_ignore)
        return result

    def _make_spec(self, record: Record, column: TranslatedColumn) -> TranslationSpec:
        text = value_as_text(find_field(record.fields, column.source)) if column.source else record.text
        translator = column.translator
        if translator.prompt.uses(ROW_VARIABLE):
            translator = replace(translator, row=Row(record.fields))
        return TranslationSpec(Document(record.name, text), translator, self._source, _FORMAT)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        return Result(record.index, record.name, None, prompt=PROMPT, blank=True)

    def line(self, result: Result) -> str:
        """Return the translations, separated by tabs."""
        return "\t".join(result.fields.get(name) or "" for name in self.columns)


def _ignore(_: TaskEvent) -> None:
    """Show nothing: the result has the text, and the notices as warnings."""
