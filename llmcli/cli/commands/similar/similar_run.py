"""One run of similar: vectors of the query and of all texts, then the nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.embed.embed_run import WHOLE_FILES, use_embedding_model
from llmcli.cli.console import json_text
from llmcli.cli.input import inputs
from llmcli.cli.input.inputs import STDIN, format_source_name
from llmcli.cli.input.source_inputs import expand_names
from llmcli.cli.records.record_inputs import RecordWork
from llmcli.cli.records.record_output import RecordOutput
from llmcli.cli.records.record_run import RecordRunSpec, run_records
from llmcli.cli.render.text_writer import ByteSink
from llmcli.documents.records.record import RecordSchema
from llmcli.errors import EmptyInput, LlmError
from llmcli.tasks.embed import EMBEDDING_COLUMN, EmbedTask
from llmcli.tasks.retrieval.nearest_texts import NearestTexts, NearText
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder
from llmcli.types import ItemFailed, Result

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.record_runner import RecordProcessor
    from llmcli.tasks.runner.task_requests import GenerationOptions

SCORE_DIGITS = 4


class SimilarTask(EmbedTask):
    """Computes the vectors of records, and has that of the query."""

    def __init__(self, backend: Backend, options: GenerationOptions, query: str) -> None:
        self.query_vector = PassageEmbedder(backend).embed_vector(query)
        super().__init__(backend, options)


class SimilarOutput(RecordOutput):
    """Collects the vectors of all records, and writes the nearest ones at the end."""

    def __init__(
        self,
        ctx: CommandContext,
        work: RecordWork,
        *,
        names: Sequence[str],
        top: int,
        threshold: float,
        whole: bool,
    ) -> None:
        super().__init__(ctx, work)
        self._only_name = names[0] if names else STDIN
        self._top = top
        self._threshold = threshold
        self._whole = whole
        self._texts = NearestTexts()
        self._query: Sequence[float] = ()

    def open(self, stack: ExitStack) -> ByteSink:
        """Open the output; nothing can be continued."""
        stack.callback(self._texts.close)
        return self._open_plain(stack)

    def begin(self, schema: RecordSchema, verb: RecordProcessor, manifest: Callable[[], Mapping[str, Any]]) -> None:
        """Begin; there is no head."""
        del schema, manifest
        assert isinstance(verb, SimilarTask)
        self._query = verb.query_vector

    def write_result(self, result: Result) -> LlmError | None:
        """Keep the vector of a record."""
        vector, record = result.fields[EMBEDDING_COLUMN], result.record
        if vector is not None:
            self._texts.add(record.file, record.line, record.text, vector)
        return None

    def write_failure(self, failed: ItemFailed) -> None:
        """Write nothing: the failure is reported."""

    def complete(self, *, ended_early: bool) -> None:
        """Write the nearest texts."""
        del ended_early
        for found in self._texts.nearest(self._query, self._top, self._threshold):
            self._write((self._describe(found) + "\n").encode("utf-8", "backslashreplace"))

    def _describe(self, found: NearText) -> str:
        name = found.file or self._only_name
        score = round(found.score, SCORE_DIGITS)
        if self._as_json:
            return json_text.dumps({"file": name, "line": found.line, "score": score, "text": found.text})
        name = format_source_name(name)
        if self._whole:
            return f"{name}: {found.score:.3f}"
        return f"{name}:{found.line}: {found.score:.3f} {' '.join(found.text.split())}"


def run_similar(
    ctx: CommandContext, query: str, files: Sequence[str], *, top: int, threshold: float, whole: bool
) -> int:
    """Print the nearest texts; return the exit code. Raises ``EmptyInput`` for a blank query."""
    wanted = inputs.decode_argument(query)
    if not wanted.strip():
        raise EmptyInput("the query")
    use_embedding_model(ctx)
    names = expand_names(ctx, files) if whole else files
    task = RecordRunSpec(
        lambda backend, options: SimilarTask(backend, options, wanted),
        dict,
        make_output=partial(SimilarOutput, names=names, top=top, threshold=threshold, whole=whole),
        input_format=WHOLE_FILES if whole else None,
        suits_small_models=True,
    )
    return run_records(ctx, names, task)
