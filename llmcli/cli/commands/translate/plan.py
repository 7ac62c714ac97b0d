"""The plan of a command: documents, their target languages, and where the output of each goes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate import output_paths
from llmcli.cli.input import document_inputs
from llmcli.documents.format_registry import document_format_by_suffix, listed_suffixes
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.translatable import read_translatable
from llmcli.errors import InputError, MissingError, UsageError
from llmcli.fast_dataclass import field, frozen
from llmcli.files import private_files
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.cli.commands.translate.output_paths import InputFile
    from llmcli.tasks.languages import Language


@frozen
class PlanOptions:
    """The options as typed. ``output`` is a file, a directory, a pattern, or None.

    ``updates_existing``: the output may hold translations. Without ``writes_files`` nothing is written, and without an
    output each document has its own; with ``reads_existing`` too, the translations in the output will only be read.
    """

    files: Sequence[str]
    target_languages: Sequence[str]
    output: str | None = None
    force: bool = False
    updates_existing: bool = False
    writes_files: bool = True
    reads_existing: bool = False


@frozen
class PlannedTranslation:
    """A document (or why it cannot be read), its target language, and the file for its translation.

    ``path`` None: the one document goes to standard output. ``existing`` is what the file holds; with
    ``keeps_existing`` it is not overwritten.
    """

    document: Document | ItemFailed
    target: Language
    path: Path | None = None
    existing: Document | None = None
    keeps_existing: bool = False

    @property
    def encoding(self) -> str:
        """The encoding of the document, which its translation gets in a file."""
        return self.document.encoding if isinstance(self.document, Document) else "utf-8"


@frozen
class TranslationPlan:
    """All translations of a command; ``has_derived_names``: llm chose the names of the files."""

    translations: Sequence[PlannedTranslation]
    has_derived_names: bool
    outputs: Mapping[int, Path] = field(default_factory=dict)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(pair.document.name for pair in self.translations)


def plan_translations(ctx: CommandContext, options: PlanOptions) -> TranslationPlan:
    """Return the plan; documents in directories have a suffix of a known format.

    An existing file with a derived name is not written unless ``force`` or ``updates_existing``. Raises ``UsageError``,
    ``CannotCreate`` for a path that cannot be written, and what reading inputs raises when none can be read.
    """
    from llmcli.tasks.languages import parse_language

    targets = [parse_language(name) for name in options.target_languages]
    if options.output is not None:
        output_paths.check_pattern(options.output)
    items = output_paths.expand_inputs(
        options.files, listed_suffixes(), options.output, lambda link: _report_outside_link(ctx, link)
    )
    if len(items) <= 1 and len(targets) == 1 and not _derives_names(options):
        return _plan_single(ctx, items, targets[0], options)
    if not options.writes_files and options.output is None:
        read = _read_documents(ctx, items)
        pairs = [PlannedTranslation(document, to) for to in targets for document in read]
        return TranslationPlan(pairs, has_derived_names=True)
    return _plan_several(ctx, items, targets, options)


def _read_documents(ctx: CommandContext, items: Sequence[InputFile]) -> Sequence[Document | ItemFailed]:
    return document_inputs.read_inputs(
        ctx, [item.name for item in items], document_inputs.read_translatable_document, keeps_all=True
    )


def _report_outside_link(ctx: CommandContext, link: str) -> None:
    if not ctx.console.quiet:
        ctx.console.write_notice(f"{link} is skipped: it is a link out of the directory; to translate it, name it")


def _plan_single(
    ctx: CommandContext, items: Sequence[InputFile], target: Language, options: PlanOptions
) -> TranslationPlan:
    """Return the plan of one document whose translation goes to standard output or into a named file."""
    (document,) = _read_documents(ctx, items)
    path = Path(options.output) if options.output else None
    earlier = read_earlier(ctx, path) if path and options.updates_existing else None
    return TranslationPlan([PlannedTranslation(document, target, path, earlier)], has_derived_names=False)


def _plan_several(
    ctx: CommandContext, items: Sequence[InputFile], targets: Sequence[Language], options: PlanOptions
) -> TranslationPlan:
    """Return the plan of translations whose files llm names."""
    output = _check_output(options)
    several = len(targets) > 1
    planned = [
        (to, item, output_paths.output_path(item, output, to.code, several=several)) for to in targets for item in items
    ]
    output_paths.check_targets([(item, path) for _, item, path in planned])
    left_out = _find_earlier_outputs(ctx, items, output, [path for _, _, path in planned])
    read = _read_documents(ctx, [item for item in items if item not in left_out])
    kept = [(to, path) for to, item, path in planned if item not in left_out]
    found = [
        _plan_one(ctx, document, to, path, options)
        for (to, path), document in zip(kept, [*read] * len(targets), strict=True)
    ]
    if not options.reads_existing:
        output_paths.check_writable(
            pair.path for pair in found if pair.path and not pair.keeps_existing and isinstance(pair.document, Document)
        )
    outputs = {index: pair.path for index, pair in enumerate(found) if pair.path}
    return TranslationPlan(found, has_derived_names=True, outputs=outputs)


def _check_output(options: PlanOptions) -> str:
    """Return the directory or pattern for several translations. Raises ``UsageError`` if it is neither."""
    output = options.output
    if output is None:
        raise UsageError(
            "several translations need an output directory", detail="Try: -o DIR, or -o '{dir}/{name}.{lang}{ext}'"
        )
    if (
        not output_paths.is_pattern(output)
        and not output_paths.is_directory(output)
        and (private_files.exists(Path(output)) or _is_file_name(output))
    ):
        raise UsageError(
            f"several translations cannot go into one file, {output}",
            detail="Name a directory, or a pattern: '{dir}/{name}.{lang}{ext}'",
        )
    return output


def _is_file_name(output: str) -> bool:
    """Whether a path that may not exist yet is that of a document, by its suffix."""
    return not output.endswith("/") and document_format_by_suffix(output) is not None


def _find_earlier_outputs(
    ctx: CommandContext, items: Sequence[InputFile], output: str, paths: Sequence[Path]
) -> set[InputFile]:
    """Return the inputs that are translations of an earlier run, and report those that the user named."""
    made = set(map(os.path.realpath, paths))  # beside their sources
    earlier = {item for item in items if item.found_in_directory and os.path.realpath(item.name) in made}
    earlier |= output_paths.existing_translations(items, output)
    if (ctx.console.verbose or ctx.console.stderr_is_terminal) and not ctx.console.quiet:
        for name in sorted(item.name for item in earlier if not item.found_in_directory):
            ctx.console.write_explanation(f"{name} is skipped: the pattern of -o names it as a translation")
    return earlier


def _derives_names(options: PlanOptions) -> bool:
    """Return whether the output is a pattern or a directory; a directory as input needs one, even with one document."""
    output = options.output
    if output is None:
        return False
    return (
        output_paths.is_pattern(output)
        or output.endswith("/")
        or output_paths.is_directory(output)
        or any(map(output_paths.is_directory, options.files))
    )


def _plan_one(
    ctx: CommandContext, document: Document | ItemFailed, target: Language, path: Path, options: PlanOptions
) -> PlannedTranslation:
    if options.updates_existing:
        return PlannedTranslation(document, target, path, read_earlier(ctx, path))
    if options.force or options.reads_existing or not os.path.lexists(path):
        return PlannedTranslation(document, target, path)
    earlier = None
    if os.path.isfile(path):  # noqa: PTH113 (a pipe would block)
        with suppress(InputError):  # keep it, whatever it is
            earlier = read_earlier(ctx, path)
    return PlannedTranslation(document, target, path, earlier, keeps_existing=True)


def read_earlier(ctx: CommandContext, path: Path) -> Document | None:
    """Return the translation at ``path``; None if there is none yet."""
    with suppress(MissingError):
        return read_translatable(str(path), ctx.runtime.interrupt)
    return None
