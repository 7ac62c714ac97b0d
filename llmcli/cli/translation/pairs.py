"""Which documents are to be translated into which languages, and where the output of each goes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import private_files
from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.translation import mirror
from llmcli.documents.reading import Document, read_file
from llmcli.errors import InputError, MissingError, UsageError
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.languages import Language


@dataclass(frozen=True)
class Wish:
    """What was typed. ``output`` is a file, a directory, a pattern, or None; ``updates``: it may hold translations.

    Without ``writes`` nothing is written anywhere.
    """

    files: Sequence[str]
    to: Sequence[str]
    output: str | None = None
    force: bool = False
    updates: bool = False
    writes: bool = True


@dataclass(frozen=True)
class Pair:
    """A document (or why it cannot be read), its target language, and the file for its translation.

    ``path`` None: the one document goes to standard output. ``earlier`` is what the file holds; with ``keep`` it is not
    to be overwritten.
    """

    document: Document | ItemFailed
    target: Language
    path: Path | None = None
    earlier: Document | None = None
    keep: bool = False


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


def find_pairs(cli: Context, wish: Wish, suffixes: Sequence[str]) -> Pairs:
    """Return what is to be done; documents in directories have one of ``suffixes``.

    A file with a derived name that is there already is not written unless ``force`` or ``updates``. Raises
    ``UsageError``, ``CannotCreate`` for a place that takes no file, and what reading inputs raises when none can be read.
    """
    from llmcli.tasks.languages import parse_language

    targets = [parse_language(name) for name in wish.to]
    if wish.output is not None:
        mirror.check_pattern(wish.output)
    items = mirror.expand(wish.files, suffixes, wish.output)
    if len(items) <= 1 and len(targets) == 1 and not _is_derived(wish):
        (document,) = inputs.documents(cli, [item.name for item in items])
        path = Path(wish.output) if wish.output else None
        earlier = _earlier(cli, path) if path and wish.updates else None
        return Pairs([Pair(document, targets[0], path, earlier)], derived=False)
    if not wish.writes:
        read = inputs.documents(cli, [item.name for item in items])
        return Pairs([Pair(document, to) for to in targets for document in read], derived=True)
    if wish.output is None:
        raise UsageError("several translations need a place", detail="Try: -o DIR, or -o '{dir}/{name}.{lang}{ext}'")
    if (
        not mirror.is_pattern(wish.output)
        and private_files.exists(Path(wish.output))
        and not mirror.is_directory(wish.output)
    ):
        raise UsageError(
            f"several translations do not go into one file, {wish.output}",
            detail="Name a directory, or a pattern: '{dir}/{name}.{lang}{ext}'",
        )
    several = len(targets) > 1
    places = [
        (to, item, mirror.target(item, wish.output, to.code, several=several)) for to in targets for item in items
    ]
    mirror.check_targets([(item, path) for _, item, path in places])
    made = {os.path.realpath(path) for _, _, path in places}  # translations of an earlier run, beside their sources
    translations = {item for item in items if item.walked and os.path.realpath(item.name) in made}
    translations |= mirror.translations(items, wish.output)
    if (cli.flags.verbose or cli.world.terminal(cli.world.stderr)) and not cli.flags.quiet:
        for name in sorted(item.name for item in translations if not item.walked):
            cli.say(f"{name} is left out: the pattern of -o names it as a translation")
    items = [item for item in items if item not in translations]
    places = [(to, item, path) for to, item, path in places if item not in translations]
    read = inputs.documents(cli, [item.name for item in items])
    found = [
        _pair(cli, document, to, path, wish)
        for (to, _, path), document in zip(places, [*read] * len(targets), strict=True)
    ]
    mirror.check_places(
        pair.path for pair in found if pair.path and not pair.keep and isinstance(pair.document, Document)
    )
    return Pairs(found, derived=True, outputs={index: pair.path for index, pair in enumerate(found) if pair.path})


def _is_derived(wish: Wish) -> bool:
    """Return whether the output is a pattern or a directory: of a directory it is one, though it hold one document."""
    output = wish.output
    if output is None:
        return False
    return (
        mirror.is_pattern(output)
        or output.endswith("/")
        or mirror.is_directory(output)
        or any(map(mirror.is_directory, wish.files))
    )


def _pair(cli: Context, document: Document | ItemFailed, target: Language, path: Path, wish: Wish) -> Pair:
    if wish.updates:
        return Pair(document, target, path, _earlier(cli, path))
    if wish.force or not os.path.lexists(path):
        return Pair(document, target, path)
    earlier = None
    if os.path.isfile(path):  # noqa: PTH113 (a pipe would be waited for)
        with suppress(InputError):  # whatever it is, it stays
            earlier = _earlier(cli, path)
    return Pair(document, target, path, earlier, keep=True)


def _earlier(cli: Context, path: Path) -> Document | None:
    """Return the translation at ``path``; None where there is none yet."""
    with suppress(MissingError):
        return read_file(str(path), cli.interrupt)
    return None
