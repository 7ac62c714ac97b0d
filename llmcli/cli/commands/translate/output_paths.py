"""The documents to translate, and where the output of each goes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from llmcli.cli.input.inputs import file_identity
from llmcli.documents.reading.document import OFFICE_LOCK
from llmcli.errors import CannotCreate, MissingError, UsageError
from llmcli.fast_dataclass import frozen

_PLACEHOLDER = re.compile(r"\{(?:dir|name|lang|ext)\}")
_LANGUAGE_CODE = re.compile(r"(?<![A-Za-z0-9])[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*(?![A-Za-z0-9])")
"""A possible language code in a path."""


@frozen
class InputFile:
    """A document by its name; ``relative`` is its path below the argument on the command line.

    ``found_in_directory``: the directory was named, not the file itself.
    """

    name: str
    relative: Path
    found_in_directory: bool = False


def is_pattern(output: str) -> bool:
    """Return whether -o is a pattern of names, as ``{name}.{lang}{ext}``."""
    return _PLACEHOLDER.search(output) is not None


def check_pattern(output: str) -> None:
    """Raise ``UsageError`` for a brace outside a placeholder, in the part of the path that does not exist yet."""
    path = Path(output)
    there = next((each for each in (path, *path.parents) if os.path.lexists(each)), Path())
    if re.search(r"[{}]", _PLACEHOLDER.sub("", str(path.relative_to(there)))):
        raise UsageError(
            f"{output} has unknown placeholders in braces", detail="Placeholders are {dir}, {name}, {lang} and {ext}."
        )


def expand_inputs(
    names: Sequence[str],
    suffixes: Iterable[str],
    output: str | None = None,
    on_outside_link: Callable[[str], None] = lambda _: None,
) -> list[InputFile]:
    """Return the documents of ``names``: files, and for directories the files below with one of ``suffixes``.

    Skipped below directories: hidden files, those of an Office program that has a document open, statements about
    outputs, links to directories and to documents found anyway, files that are not regular, the directory ``output``,
    which holds translations, and links to what is not in ``names``, since a tree of another person could name any file
    with them: ``on_outside_link`` gets each of these. A directory that cannot be listed is among the documents, so that
    reading it reports why. Raises ``MissingError`` for a directory without documents and for an empty name, and
    ``UsageError`` for a document named twice.
    """
    endings = tuple(suffixes)
    if "" in names:
        raise MissingError("''", kind="input")
    found: list[InputFile] = []
    files = [name for name in names if not is_directory(name)]
    shared = _common_directory(files)
    for name in names:
        if not is_directory(name):
            found.append(
                InputFile(
                    name, Path(os.path.relpath(name, shared)) if shared else Path(name).with_name(_base_name(name))
                )
            )
            continue
        below = []
        for path in _walk_documents(Path(name), endings, output):
            if not path.is_symlink():
                below.append(path)
            elif not _is_below(path, names):
                on_outside_link(str(path))
            elif not path.is_dir():
                below.append(path)
        if not below:
            raise MissingError(name, kind="input", detail="it contains no document with a known file extension")
        found += [InputFile(str(path), path.relative_to(name), found_in_directory=True) for path in below]
    found = _without_links(found)
    twice = _first_duplicate(os.path.realpath(each.name) for each in found if each.name != "-")
    if twice:
        raise UsageError(
            f"{twice} is named twice", detail="Name each document once; a directory includes all documents below it."
        )
    return found


def _without_links(found: Sequence[InputFile]) -> list[InputFile]:
    """Drop links found by a walk if their targets are included anyway."""
    links = [item.found_in_directory and Path(item.name).is_symlink() for item in found]
    real = [os.path.realpath(item.name) for item in found]
    seen = {path for path, link in zip(real, links, strict=True) if not link}
    kept = []
    for item, path, link in zip(found, real, links, strict=True):
        if link and path in seen:
            continue
        seen.add(path)
        kept.append(item)
    return kept


def output_path(
    item: InputFile,
    output: str,
    language: str,
    *,
    several: bool,
) -> Path:
    """Return the file for a translation: ``output`` is a pattern, or a directory that mirrors the inputs.

    ``several`` languages have a directory each in it.
    """
    if not is_pattern(output):
        return Path(output) / (language if several else "") / item.relative
    name, dot, ending = _base_name(item.name).rpartition(".")
    values = {
        "{dir}": str(Path(item.name).parent),
        "{name}": name if dot and name else _base_name(item.name),
        "{lang}": language,
        "{ext}": f".{ending}" if dot and name else "",
    }
    return Path(_PLACEHOLDER.sub(lambda match: values[match.group()], output))


def existing_translations(items: Sequence[InputFile], pattern: str) -> set[InputFile]:
    """Return the ``items`` that ``pattern`` names as translations of others, into any language."""
    from llmcli.tasks.languages import is_code

    there = {os.path.realpath(item.name): item for item in items if item.name != "-"}
    codes = (
        {code for path in there for code in _LANGUAGE_CODE.findall(path) if is_code(code)}
        if "{lang}" in pattern
        else set()
    )
    named = ((item, there.get(os.path.realpath(output_path(item, pattern, code, several=False))))
             for item in items for code in codes)  # fmt: skip
    return {other for item, other in named if other is not None and other is not item}


def check_targets(targets: Sequence[tuple[InputFile, Path]]) -> None:
    """Raise ``UsageError`` if two documents have one target, or a target is its own source."""
    twice = _first_duplicate(os.path.abspath(path) for _, path in targets)  # noqa: PTH100 (links are followed at writing)
    if twice:
        raise UsageError(f"two documents would be written to {twice}", detail="Put {lang}, {dir} or {name} into -o.")
    for item, path in targets:
        if (identity := file_identity(item.name)) is not None and identity == file_identity(str(path)):
            raise UsageError(f"{item.name} would be overwritten by its own translation", detail="Choose another -o.")


def check_writable(paths: Iterable[Path]) -> None:
    """Raise ``CannotCreate`` for an impossible file name or a directory that cannot be created or written."""
    files = list(paths)
    for path in files:
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # it is too long, or links form a loop
            raise CannotCreate(str(path), detail=error.strerror or "") from error
    for directory in dict.fromkeys(path.parent for path in files):
        there = next(each for each in (directory, *directory.absolute().parents) if os.path.lexists(each))
        if not there.is_dir():
            raise CannotCreate(str(directory), detail=f"{there} is not a directory")
        if not os.access(there, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise CannotCreate(str(directory), detail=f"{there}: {os.strerror(number)}")


def _walk_documents(top: Path, endings: tuple[str, ...], output: str | None) -> Iterator[Path]:
    """Yield the documents below ``top``, links to directories, and the directories that cannot be listed."""
    from llmcli.provenance.statement import SUFFIX as STATEMENT_SUFFIX  # a single document does not need it

    unlisted: list[Path] = []
    for directory, below, files in os.walk(top, onerror=lambda error: unlisted.append(Path(error.filename))):
        here = Path(directory)
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not _is_output_directory(here / name, output)
        )
        yield from (path for path in map(here.joinpath, below) if path.is_symlink())
        shown = (name for name in sorted(files) if name.endswith(endings) and not name.startswith((".", OFFICE_LOCK)))
        for path in (here / name for name in shown if not name.endswith(STATEMENT_SUFFIX)):
            if os.path.isfile(path):  # noqa: PTH113 (False, not an error, without permission); a pipe would block
                yield path
    yield from unlisted


def _is_below(link: Path, names: Iterable[str]) -> bool:
    """Return whether the target of a link is one of ``names`` or in one of these directories."""
    target = Path(os.path.realpath(link))
    return any(target.is_relative_to(os.path.realpath(name)) for name in names if name != "-")


def _is_output_directory(path: Path, output: str | None) -> bool:
    return output is not None and os.path.realpath(path) == os.path.realpath(output)


def is_directory(name: str) -> bool:
    """Return whether an input is a directory of documents."""
    return name != "-" and os.path.isdir(name)  # noqa: PTH112 (a name may hold a NUL)


def _common_directory(files: Sequence[str]) -> str:
    """Return the directory that contains all files."""
    parents = [os.path.dirname(os.path.abspath(name)) for name in files if name != "-"]  # noqa: PTH100, PTH120 (the names are texts)
    return os.path.commonpath(parents) if parents else ""


def _base_name(name: str) -> str:
    return "stdin.txt" if name == "-" else Path(name).name


def _first_duplicate(values: Iterable[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""
