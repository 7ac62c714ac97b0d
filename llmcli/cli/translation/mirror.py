"""Which documents a job of many has, and where the output of each goes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmcli.cli.translation.distinct import identity_of
from llmcli.errors import CannotCreate, MissingError, UsageError

_PLACE = re.compile(r"\{(?:dir|name|lang|ext)\}")
_CODE = re.compile(r"(?<![A-Za-z0-9])[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*(?![A-Za-z0-9])")
"""What may be the code of a language in a path."""


@dataclass(frozen=True, slots=True)
class Input:
    """A document by its name; ``relative`` is its path below what was named on the command line.

    ``walked``: it was not named itself, but a directory that it is in.
    """

    name: str
    relative: Path
    walked: bool = False


def is_pattern(output: str) -> bool:
    """Return whether -o is a pattern of names, as ``{name}.{lang}{ext}``."""
    return _PLACE.search(output) is not None


def check_pattern(output: str) -> None:
    """Raise ``UsageError`` for a brace that is none of a place, in what is not there yet: it may be misspelt."""
    path = Path(output)
    there = next((each for each in (path, *path.parents) if os.path.lexists(each)), Path())
    if re.search(r"[{}]", _PLACE.sub("", str(path.relative_to(there)))):
        raise UsageError(f"{output} has braces that are no place", detail="Places are {dir}, {name}, {lang} and {ext}.")


def expand(names: Sequence[str], suffixes: Iterable[str], output: str | None = None) -> list[Input]:
    """Return the documents that ``names`` mean: files, and of directories the files below with one of ``suffixes``.

    Left out below directories: what is hidden, links to directories and to documents that are there anyway, what is no
    regular file, and the directory ``output``, which holds translations. Raises ``MissingError`` for a directory without
    any document, and ``UsageError`` for a document that is named twice.
    """
    endings = tuple(suffixes)
    found: list[Input] = []
    files = [name for name in names if not is_directory(name)]
    shared = _shared(files)
    for name in names:
        if not is_directory(name):
            found.append(
                Input(name, Path(os.path.relpath(name, shared)) if shared else Path(name).with_name(_base(name)))
            )
            continue
        below = [path for path in _walk(Path(name), output) if path.name.endswith(endings)]
        if not below:
            raise MissingError(name, kind="input", detail="no document below it has a known ending")
        found += [Input(str(path), path.relative_to(name), walked=True) for path in below]
    found = _without_links(found)
    twice = _first_twice(os.path.realpath(each.name) for each in found if each.name != "-")
    if twice:
        raise UsageError(f"{twice} is named twice", detail="Name each document once; a directory names all below it.")
    return found


def _without_links(found: Sequence[Input]) -> list[Input]:
    """Leave out the links that a walk came by where what they lead to is there anyway."""
    links = [item.walked and Path(item.name).is_symlink() for item in found]
    real = [os.path.realpath(item.name) for item in found]
    seen = {path for path, link in zip(real, links, strict=True) if not link}
    kept = []
    for item, path, link in zip(found, real, links, strict=True):
        if link and path in seen:
            continue
        seen.add(path)
        kept.append(item)
    return kept


def target(item: Input, output: str, language: str, *, several: bool) -> Path:
    """Return the file for a translation: ``output`` is a pattern, or a directory that mirrors what was named.

    ``several`` languages have a directory each in it.
    """
    if not is_pattern(output):
        return Path(output) / (language if several else "") / item.relative
    name, dot, ending = _base(item.name).rpartition(".")
    values = {
        "{dir}": str(Path(item.name).parent),
        "{name}": name if dot and name else _base(item.name),
        "{lang}": language,
        "{ext}": f".{ending}" if dot and name else "",
    }
    return Path(_PLACE.sub(lambda place: values[place.group()], output))


def translations(items: Sequence[Input], pattern: str) -> set[Input]:
    """Return those of ``items`` that ``pattern`` names as translations of others, into whatever language."""
    from llmcli.tasks.languages import is_code

    there = {os.path.realpath(item.name): item for item in items if item.name != "-"}
    codes = {code for path in there for code in _CODE.findall(path) if is_code(code)} if "{lang}" in pattern else set()
    named = ((item, there.get(os.path.realpath(target(item, pattern, code, several=False))))
             for item in items for code in codes)  # fmt: skip
    return {other for item, other in named if other is not None and other is not item}


def check_targets(targets: Sequence[tuple[Input, Path]]) -> None:
    """Raise ``UsageError`` where two documents have one target, or one its own source."""
    twice = _first_twice(os.path.abspath(path) for _, path in targets)  # noqa: PTH100 (links are followed at writing)
    if twice:
        raise UsageError(f"two documents would be written to {twice}", detail="Put {lang}, {dir} or {name} into -o.")
    for item, path in targets:
        if (identity := identity_of(item.name)) is not None and identity == identity_of(str(path)):
            raise UsageError(f"{item.name} would be overwritten by its own translation", detail="Choose another -o.")


def check_places(paths: Iterable[Path]) -> None:
    """Raise ``CannotCreate`` where a file has no possible name, or its directory cannot be made or written; nothing is made yet."""
    files = list(paths)
    for path in files:
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # it is too long, or links go in a circle
            raise CannotCreate(str(path), detail=error.strerror or "") from error
    for directory in dict.fromkeys(path.parent for path in files):
        there = next(each for each in (directory, *directory.absolute().parents) if os.path.lexists(each))
        if not there.is_dir():
            raise CannotCreate(str(directory), detail=f"{there} is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise CannotCreate(str(directory), detail=f"{there}: {os.strerror(number)}")


def _walk(top: Path, output: str | None) -> Iterator[Path]:
    for directory, below, files in os.walk(top):
        here = Path(directory)
        below[:] = sorted(name for name in below if not name.startswith(".") and not _is_same(here / name, output))
        for path in (here / name for name in sorted(files) if not name.startswith(".")):
            if path.is_file():  # a named pipe would be waited for, and a device has no end
                yield path


def _is_same(path: Path, output: str | None) -> bool:
    return output is not None and os.path.realpath(path) == os.path.realpath(output)


def is_directory(name: str) -> bool:
    """Return whether an input is a tree of documents."""
    return name != "-" and os.path.isdir(name)  # noqa: PTH112 (a name may hold a NUL)


def _shared(files: Sequence[str]) -> str:
    """Return the directory that all files lie below."""
    parents = [os.path.dirname(os.path.abspath(name)) for name in files if name != "-"]  # noqa: PTH100, PTH120
    return os.path.commonpath(parents) if parents else ""


def _base(name: str) -> str:
    return "stdin.txt" if name == "-" else Path(name).name


def _first_twice(values: Iterable[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""
