"""What ``llm translate`` is asked for, checked before a model is: which jobs, and where the output of each goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.cli import inputs, mirror
from llmcli.cli.context import Context
from llmcli.documents.reading import Document, read_file
from llmcli.errors import CannotCreate, LlmError, MissingError, UsageError
from llmcli.types import Delta, ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.tasks.languages import Language
    from llmcli.tasks.translation.report import Report


@dataclass(frozen=True)
class Wish:
    """What was typed. ``output`` is a file, a directory, a pattern, or None; ``updates``: it may hold translations."""

    files: Sequence[str]
    to: Sequence[str]
    output: str | None = None
    force: bool = False
    updates: bool = False


@dataclass(frozen=True)
class Pair:
    """A document (or why it cannot be read), its target language, and the file for its translation.

    ``path`` None: the one document goes to standard output or to the file that was named. ``earlier`` is the
    translation that is there.
    """

    document: Document | ItemFailed
    target: Language
    path: Path | None = None
    earlier: Document | None = None


@dataclass(frozen=True)
class Pairs:
    """All that is to be done; ``derived``: the names of the files are llm's own."""

    all: Sequence[Pair]
    derived: bool
    outputs: Mapping[int, Path] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(pair.document.name for pair in self.all)


def pairs(cli: Context, wish: Wish, suffixes: Sequence[str]) -> Pairs:
    """Return what is to be done; documents in directories have one of ``suffixes``.

    A file that is there already is not written unless ``force`` or ``updates``: then an ``ItemFailed`` takes the place
    of its document. Raises ``UsageError``, and what reading inputs raises when none can be read.
    """
    from llmcli.tasks.languages import parse_language

    targets = [parse_language(name) for name in wish.to]
    items = mirror.expand(wish.files, suffixes)
    if len(items) <= 1 and len(targets) == 1 and not _is_derived(wish.output):
        (document,) = inputs.documents(cli, [item.name for item in items])
        path = Path(wish.output) if wish.output else None
        earlier = _earlier(path) if path and wish.updates else None
        return Pairs([Pair(document, targets[0], path, earlier)], derived=False)
    if wish.output is None:
        raise UsageError("several translations need a place", detail="Try: -o DIR, or -o '{dir}/{name}.{lang}{ext}'")
    several = len(targets) > 1
    places = [(to, item, mirror.target(item, wish.output, to.code, several=several)) for to in targets for item in items]
    mirror.check_targets([(item, path) for _, item, path in places])
    read = inputs.documents(cli, [item.name for item in items])
    found = [
        _pair(document, to, path, wish)
        for (to, _, path), document in zip(places, [*read] * len(targets), strict=True)
    ]
    return Pairs(found, derived=True, outputs={index: pair.path for index, pair in enumerate(found) if pair.path})


def _is_derived(output: str | None) -> bool:
    return output is not None and (mirror.is_pattern(output) or output.endswith("/") or Path(output).is_dir())


def _pair(document: Document | ItemFailed, target: Language, path: Path, wish: Wish) -> Pair:
    if isinstance(document, Document) and path.exists() and not (wish.force or wish.updates):
        return Pair(ItemFailed(0, document.name, CannotCreate(str(path), exists=True)), target, path)
    return Pair(document, target, path, _earlier(path) if wish.updates else None)


def _earlier(path: Path) -> Document | None:
    """Return the translation at ``path``; None where there is none yet."""
    with suppress(MissingError):
        return read_file(str(path))
    return None


def written(cli: Context, events: Iterator[TaskEvent], outputs: Mapping[int, Path]) -> Iterator[TaskEvent]:
    """Write each result to its file and pass it on without its text; what cannot be written has failed."""
    from llmcli.documents.writing import atomic_write

    for event in events:
        if isinstance(event, Delta) and not event.reasoning:
            continue
        if not isinstance(event, Result):
            yield event
            continue
        path = outputs[event.item]
        try:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CannotCreate(str(path), detail=error.strerror or "") from error
            with atomic_write(str(path), interrupt=cli.interrupt) as file:
                file.write((event.text or "").encode("utf-8", "surrogateescape"))
        except LlmError as error:
            yield ItemFailed(event.item, event.name, error)
            continue
        yield replace(event, text=None, fields={**event.fields, "output": str(path)})


def noted(events: Iterator[TaskEvent], results: list[Result]) -> Iterator[TaskEvent]:
    """Pass everything on and keep the results."""
    for event in events:
        if isinstance(event, Result):
            results.append(event)
        yield event


def write_report(path: str, results: Sequence[Result], report: Report) -> None:
    """Write what became of each document and segment, as JSON. Raises ``CannotCreate`` and ``OutputError``."""
    from llmcli.documents.writing import atomic_write

    documents = [
        {"name": result.name, **result.fields, "warnings": list(result.warnings), "segments": report.to_json(result.item)}
        for result in results
    ]
    with atomic_write(path) as file:
        file.write((json.dumps({"documents": documents}, ensure_ascii=False, indent=1) + "\n").encode())


def text_or_file(cli: Context, value: str) -> str:
    """Return a text that was typed, or of ``@FILE`` the file's."""
    return inputs.document(cli, value[1:]).text.strip() if value.startswith("@") else inputs.argument(value).strip()


def with_sum(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows of which there are several with their sum."""
    if len(rows) < 2:  # noqa: PLR2004
        return list(rows)
    total = {key: sum(row[key] for row in rows) if isinstance(value, int) else "" for key, value in rows[0].items()}
    return [*rows, {**total, "name": "total"}]
