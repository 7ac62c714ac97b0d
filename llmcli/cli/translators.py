"""Jobs of ``llm translate``: each document with a translator for its language; a dry run; scores of what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llmcli.cli import inputs, wiring
from llmcli.cli.context import Context
from llmcli.cli.translating import Pair
from llmcli.errors import LlmError, UsageError
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading import Document
    from llmcli.store.memory import Memory
    from llmcli.tasks.languages import Language
    from llmcli.tasks.translate import Job
    from llmcli.tasks.translation.report import Report
    from llmcli.tasks.translation.translator import Formality, Translator, Wording

_BATCH = 1.5
"""How many times faster than one answer many are on a CPU, in a batch."""
_READING = 3.0
"""How many times faster than it writes a model reads."""


@dataclass
class Maker:
    """Makes jobs by what the user said; ``check`` refuses what is wrong in it before anything is loaded."""

    cli: Context
    source: str | None
    format_name: str | None
    formality: str
    context: str | None
    glossary: str | None
    review: bool
    layout: str
    pseudo: str | None

    def check(self) -> None:
        """Raise ``UsageError`` and ``BadDocument`` for what cannot be used, and what reading files raises."""
        from llmcli.documents.formats import find_format
        from llmcli.tasks.languages import parse_language

        if self.format_name is not None:
            find_format("", "", self.format_name)
        if self.source is not None:
            parse_language(self.source)
        _ = self._wording

    def jobs(self, pairs: Sequence[Pair]) -> list[Job | ItemFailed]:
        """Return a job for each document that could be read; all have one backend, built when it is needed."""
        from llmcli.tasks.languages import parse_language
        from llmcli.tasks.translate import Job
        from llmcli.tasks.translation.layout import Layout

        source = None if self.source is None else parse_language(self.source)
        translators = {pair.target: self._translator(pair.target) for pair in pairs}
        return [
            pair.document
            if isinstance(pair.document, ItemFailed)
            else Job(
                pair.document,
                translators[pair.target],
                source,
                self.format_name,
                Layout(self.layout),
                pair.earlier,
                pair.path,
                pair.keep,
            )
            for pair in pairs
        ]

    @cached_property
    def _wording(self) -> Wording:
        from llmcli.tasks.translation.glossary import Glossary
        from llmcli.tasks.translation.translator import Wording

        glossary, context = Glossary(), ""
        if self.glossary is not None:
            file = inputs.document(self.cli, self.glossary)
            glossary = Glossary.parse(file.text, file.name)
        if self.context is not None:
            at_file = self.context.startswith("@")
            context = inputs.document(self.cli, self.context[1:]).text if at_file else inputs.argument(self.context)
        return Wording(cast("Formality", self.formality), context.strip(), glossary)

    def _translator(self, target: Language) -> Translator:
        from llmcli.tasks.translate import PROMPT, REVIEW
        from llmcli.tasks.translation import pseudo
        from llmcli.tasks.translation.translator import Translator

        instead = {"accents": pseudo.accents, "identity": pseudo.identity}.get(self.pseudo or "")
        prompts = self.cli.prompts
        return Translator(
            self._backend,
            prompts.get(PROMPT),
            self.cli.options(),
            target,
            self._wording,
            prompts.get(REVIEW) if self.review else None,
            instead,
            "" if instead else self._model_id,
        )

    @cached_property
    def _backend(self) -> Any:
        from llmcli.backends.deferred import Deferred

        return Deferred(self.cli.backend)

    @cached_property
    def _model_id(self) -> str:
        """What translations of the model are remembered under: its hash; of a server's its address and name."""
        from llmcli.cli import remote

        if wiring.elsewhere(self.cli):
            server, _ = remote.server(self.cli)
            if server is not None:
                return f"{server.base_url} {self.cli.flags.model or server.model or ''}"
        model = self.cli.model()
        return model.sha256 or str(model.path)


def dry_run(cli: Context, jobs: Sequence[Job | ItemFailed], memory: Memory | None) -> int:
    """Write what there is to do, a line for each document and their sum; return the exit code."""
    from llmcli.cli import wording
    from llmcli.tasks.translation.survey import survey

    failed = [job for job in jobs if isinstance(job, ItemFailed)]
    rows, speed = [], None
    for job in jobs:
        if isinstance(job, ItemFailed):
            continue
        try:
            found = survey(job, memory)
        except LlmError as error:
            failed.append(ItemFailed(0, job.document.name, error))
            continue
        speed = speed or (_speed(cli) if found.new else None)
        seconds = (found.answer / _BATCH + found.tokens / _READING) / speed if speed else None
        rows.append(
            {
                "name": found.name,
                "to": found.target,
                "from": found.source,
                "format": found.format,
                "segments": found.segments,
                "new": found.new,
                "tokens": found.tokens,
                "seconds": None if seconds is None and found.new else round(seconds or 0.0, 1),
            }
        )
    if len(rows) > 1 and not cli.flags.json:
        total: dict[str, Any] = {"name": "total", "to": "", "from": "", "format": ""}
        for key in ("segments", "new", "tokens", "seconds"):
            numbers: list[Any] = [row[key] for row in rows]
            total[key] = None if None in numbers else round(sum(numbers), 1)
        rows.append(total)
    cli.table(rows)
    for failure in failed:
        wording.show(failure.error, cli.world, as_json=cli.flags.json, name=failure.name)
    if not failed:
        return 0
    first = failed[0].error
    return 3 if rows else first.exit_code if isinstance(first, LlmError) else 1


def _speed(cli: Context) -> float | None:
    """Return about how many tokens of one answer the model writes a second; None where that is not known."""
    from llmcli.cli.fitting import figures
    from llmcli.models.fit import STEP, estimate
    from llmcli.models.gguf import read_header

    if wiring.elsewhere(cli):
        return None
    model = cli.model()
    return estimate(read_header(model.path), model.size, STEP, figures(cli.settings)).tokens_per_second


def scored(events: Iterator[TaskEvent], reference: Document, report: Report) -> Iterator[TaskEvent]:
    """Add BLEU and chrF to the fields of the one result, segment by segment against another translation.

    Raises ``UsageError`` where the two do not have the same segments, and what ``evaluate`` and ``split`` raise.
    """
    from llmcli.documents.formats import find_format
    from llmcli.tasks.translation.evaluate import evaluate

    for event in events:
        if not isinstance(event, Result):
            yield event
            continue
        target = event.fields["to"]
        theirs = find_format(reference.name, reference.text, event.fields["format"]).split(reference.text, target)
        references = [segment.existing or segment.text for segment in theirs]
        texts = [row.translation or row.source for row in report.rows[event.item]]
        if len(texts) != len(references):
            raise UsageError(
                f"{event.name} has {len(texts)} segments and {reference.name} has {len(references)}",
                detail="--eval compares segment by segment: name a translation of the same document",
            )
        yield replace(event, fields={**event.fields, **asdict(evaluate(texts, references, target))})


def scores(result: Result) -> str:
    """Return what ``scored`` added to a result, a line each."""
    fields = result.fields
    return (
        f"BLEU {fields['bleu']:.2f}  {fields['bleu_signature']}\nchrF {fields['chrf']:.2f}  {fields['chrf_signature']}"
    )
