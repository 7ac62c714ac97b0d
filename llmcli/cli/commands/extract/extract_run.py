"""One run of extract: its inputs, its output, its page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.extract.highlighted_page import place_of, render_page
from llmcli.cli.console import json_text
from llmcli.cli.input import source_inputs
from llmcli.cli.input.document_inputs import read_document, read_inputs
from llmcli.cli.input.inputs import STDIN, check_distinct, decode_argument
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.render.estimate_table import write_estimates
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.documents.format_registry import DELIMITED_FORMATS, JSON_LINES, load_record_format, output_record_format
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.file_reader import read_file
from llmcli.documents.reading.streamed_file import StreamedFile
from llmcli.documents.records.formats.record_format import OutputColumns
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen
from llmcli.files.atomic_file import atomic_write
from llmcli.schema_validation import SchemaValidator
from llmcli.tasks.extract import estimate_extraction, extract
from llmcli.tasks.extract.extraction_examples import ExtractionExample, parse_examples
from llmcli.tasks.extract.extraction_plan import PROMPT, ExtractionPlan, read_extraction_schema
from llmcli.tasks.schema_argument import read_schema
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.prompts.prompt_file import Prompt
    from llmcli.tasks.extract.value_schema import ObjectNode
    from llmcli.tasks.runner.task_requests import GenerationOptions
    from llmcli.tasks.runner.work_estimate import WorkEstimate

PARQUET = "parquet"
_TABLE_FORMATS = DELIMITED_FORMATS | {JSON_LINES, PARQUET}
_TABLES = DELIMITED_FORMATS | {"json", JSON_LINES}
"""Formats of text that are read as they are: an overview would leave out values."""


@frozen
class ExtractOptions:
    """The command's own options as typed."""

    schema: str
    many: bool = False
    free: bool = False
    examples: str | None = None
    format: str | None = None
    html: str | None = None


@frozen
class ExtractionRequest:
    """What is wanted of each text, read from the options; the fields are as in ``ExtractionPlan``."""

    schema: dict[str, Any]
    node: ObjectNode | None
    prompt: Prompt
    examples: Sequence[ExtractionExample]
    many: bool
    free: bool

    @classmethod
    def read(cls, ctx: CommandContext, wanted: ExtractOptions) -> ExtractionRequest:
        """Read the schema, the prompt and the examples. Raises what reading them raises."""
        schema = read_schema(decode_argument(wanted.schema), ctx.runtime.interrupt, nullable=True)
        node = read_extraction_schema(schema, free=wanted.free)
        examples = _read_examples(ctx, wanted, schema)
        return cls(schema, node, ctx.runtime.prompts.get(PROMPT), examples, wanted.many, wanted.free)

    def make_plan(self, backend: Backend, options: GenerationOptions) -> ExtractionPlan:
        """Return the plan for a backend and the options of answers."""
        return ExtractionPlan(
            backend, self.prompt, options, self.schema, self.node, self.many, self.free, self.examples
        )


def run_extract(ctx: CommandContext, files: Sequence[str], wanted: ExtractOptions) -> int:
    """Extract the values and return the exit code. Raises what reading the schema, examples and documents raises."""
    request = ExtractionRequest.read(ctx, wanted)
    schema = request.schema
    names, documents = _read_documents(ctx, files, wanted)

    def make_plan(backend: Backend) -> ExtractionPlan:
        return request.make_plan(backend, ctx.generation_options())

    several = len(names) > 1
    form = _choose_format(ctx, wanted, several=several)
    _refuse_name_column(form, schema, named=several)
    if record_flags(ctx).dry_run:
        return _write_estimates(ctx, documents, make_plan, wanted.html)
    rows = ValueRows(form, schema, many=wanted.many, named=several)
    table = ParquetValues(schema, many=wanted.many, named=several) if form == PARQUET else None
    files_of_results: dict[str, _ResultsFormat] = {}
    if wanted.html is not None:
        files_of_results[wanted.html] = partial(render_page, documents)
    if table is not None:
        files_of_results[ctx.flags.output or ""] = table.render

    def task(backend: Backend) -> Iterator[TaskEvent]:
        plan = make_plan(backend)
        for event in source_inputs.add_source_notes(extract(plan, documents), documents):
            if isinstance(event, Result):
                explain_values(ctx, event)
            yield event

    display = DisplayOptions(
        input_names=tuple(names),
        markdown=False,
        format_row=rows.format if table is None else None,
        silent=table is not None,
        keeps_ends=bool(files_of_results),
    )
    return _show_and_write(ctx, task, display, files_of_results)


_ResultsFormat = Callable[[Sequence[Result]], Iterator[bytes]]
"""Formats the results of all documents, in their order, as a file."""


class _NoValuesFound(Exception):
    """There is no result to write, so that the earlier files stay."""


def _show_and_write(
    ctx: CommandContext,
    task: Callable[[Backend], Iterator[TaskEvent]],
    display: DisplayOptions,
    files: Mapping[str, _ResultsFormat],
) -> int:
    """Show the results of a task, write them to the ``files``, unless there is none, and return the exit code."""
    with suppress(_NoValuesFound), ExitStack() as stack:
        opened = [
            (stack.enter_context(atomic_write(path, interrupt=ctx.runtime.interrupt)), render)
            for path, render in files.items()
        ]
        report = render_task(ctx, task, display)
        results = sorted(report.results, key=lambda result: result.item)
        if not results:
            raise _NoValuesFound
        for file, render in opened:
            for part in render(results):
                file.write(part)
    return report.exit_code


def _write_estimates(
    ctx: CommandContext,
    documents: Sequence[Document | StreamedFile | ItemFailed],
    make_plan: Callable[[Backend], ExtractionPlan],
    html: str | None,
) -> int:
    def estimate(index: int) -> WorkEstimate:
        document = documents[index]
        if isinstance(document, ItemFailed):
            raise document.error
        return estimate_extraction(make_plan(ctx.runtime.backend()), document)

    return write_estimates(ctx, [each.name for each in documents], estimate, other_outputs=[html])


def _read_documents(
    ctx: CommandContext, files: Sequence[str], wanted: ExtractOptions
) -> tuple[list[str], Sequence[Document | StreamedFile | ItemFailed]]:
    names = source_inputs.expand_inputs(ctx, files)
    outputs = [("the page", wanted.html)] if wanted.html else []
    outputs += [("the output", ctx.flags.output)] if ctx.flags.output else []
    reads = [("an input", name) for name in names or [STDIN]]
    check_distinct([*reads, *([("the examples", wanted.examples)] if wanted.examples else [])], outputs)
    return names, read_inputs(ctx, names, _read_whole if wanted.html else _read_streamed)


def _read_streamed(ctx: CommandContext, name: str) -> Document | StreamedFile:
    """Read a document as ``_read_whole`` does; a text that is too large to be kept is only checked."""
    return source_inputs.open_large(ctx, name) or _read_whole(ctx, name)


def _read_whole(ctx: CommandContext, name: str) -> Document:
    """Read a document; a table or JSON as the text that it is."""
    document = source_inputs.read_source_document(ctx, name)
    if document.source is not None and document.source.format_name in _TABLES:
        return read_document(ctx, name)
    return document


def _read_examples(ctx: CommandContext, wanted: ExtractOptions, schema: dict[str, Any]) -> list[ExtractionExample]:
    if wanted.examples is None:
        return []
    text = read_file(wanted.examples, ctx.runtime.interrupt).text
    return parse_examples(text, wanted.examples, SchemaValidator(schema), many=wanted.many)


def _choose_format(ctx: CommandContext, wanted: ExtractOptions, *, several: bool) -> str:
    if wanted.format is not None:
        if ctx.console.as_json:
            raise UsageError("--json and --format are two formats", detail="Leave out one of them.")
        if wanted.format == PARQUET and ctx.flags.output is None:
            raise UsageError("Parquet needs a file", detail="Name it: -o FILE.parquet")
        return wanted.format
    if ctx.console.as_json:
        return "json"
    named = output_record_format(ctx.flags.output or "")
    return named if named in _TABLE_FORMATS else JSON_LINES if several else "json"


def _refuse_name_column(form: str, schema: Mapping[str, Any], *, named: bool) -> None:
    """Raise ``UsageError`` if a field has the name of the column in which a table names the documents."""
    if named and form in DELIMITED_FORMATS | {PARQUET} and NAME_COLUMN in schema.get("properties", {}):
        words = f"the field {NAME_COLUMN} has the name of the column that names the document"
        raise UsageError(words, detail="Rename the field, or write JSON Lines: --format jsonl")


def explain_values(ctx: CommandContext, result: Result) -> None:
    """With -v, write where each value stands to stderr."""
    for each in result.fields["found"]:
        probability = "" if each["probability"] is None else f", probability {each['probability']:.2f}"
        ctx.console.explain(f"{each['path']} = {each['value']!r} ({place_of(each['quote'])}{probability})")


_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


class ParquetValues:
    """Formats results as Parquet; ``many`` and ``named`` as for ``ValueRows``. Raises ``MissingExtra`` if pyarrow is missing."""

    def __init__(self, schema: Mapping[str, Any], *, many: bool, named: bool) -> None:
        properties: Mapping[str, Any] = schema.get("properties", {})
        self._columns = [*([NAME_COLUMN] if named else []), *properties]
        types = {name: kind for name, each in properties.items() if (kind := _type_of(each)) is not None}
        added = {NAME_COLUMN: str, **types} if named else types
        self._writer = load_record_format("parquet").open_writer(
            OutputColumns(RecordSchema("extract", tuple(self._columns)), added, has_error=False)
        )
        self._many = many
        self._named = named

    def render(self, results: Sequence[Result]) -> Iterator[bytes]:
        """Yield the file in parts, its rows in the order of the results."""
        yield self._writer.head()
        index = 0
        for result in results:
            values = result.fields["values"]
            for one in values if self._many else [values]:
                found = {NAME_COLUMN: result.name, **one} if self._named else one
                row = {column: found.get(column) for column in self._columns}
                yield self._writer.row(Record(index, "", index + 1, fields=row), {}, "")
                index += 1
        yield self._writer.tail()


def _type_of(schema: Any) -> type | None:
    """Return the type of a column's values.

    It is None for lists, objects and mixed values, whose type is that of the first.
    """
    kinds = schema.get("type") if isinstance(schema, dict) else None
    names = [each for each in (kinds if isinstance(kinds, list) else [kinds]) if each != "null"]
    return _TYPES.get(str(names[0])) if len(names) == 1 else None


NAME_COLUMN = "file"
"""The first column of a table if there are several documents."""
_DELIMITERS = {"csv": ",", "tsv": "\t"}


class ValueRows:
    """Formats results as ``format_name``; ``named``: rows of tables begin with the name of the document."""

    def __init__(self, format_name: str, schema: Mapping[str, Any], *, many: bool, named: bool) -> None:
        self._format_name = format_name
        self._many = many
        self._named = named
        self._columns = list(schema.get("properties", {}))
        self._has_header = False

    def format(self, result: Result) -> str | None:
        """Return the lines of a result without the last line end; None for none."""
        values = result.fields["values"]
        if self._format_name in _DELIMITERS:
            return self._format_table(result.name, values if self._many else [values])
        if self._format_name == "json":
            return json.dumps(values, ensure_ascii=False, indent=2)
        return "\n".join(map(json_text.dumps, values)) or None if self._many else json_text.dumps(values)

    def _format_table(self, name: str, objects: list[dict[str, Any]]) -> str | None:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=_DELIMITERS[self._format_name], lineterminator="\n")
        if not self._has_header:
            self._has_header = True
            writer.writerow([*([NAME_COLUMN] if self._named else []), *self._columns])
        for each in objects:
            writer.writerow([*([name] if self._named else []), *(_cell(each.get(column)) for column in self._columns)])
        return out.getvalue().removesuffix("\n") or None


def _cell(value: Any) -> Any:
    """Return a value for a cell: lists and objects as JSON, null as nothing."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value
