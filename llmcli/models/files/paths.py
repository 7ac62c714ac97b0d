"""The directories of models, and facts from a file's path. Every command imports this module, so it imports little."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from llmcli.errors import BadModelFile, MissingError, OutputError

_SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_CACHE_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME")
"""Variables that set the directory of the Hub's cache."""
_OLLAMA_BLOB = re.compile(r"sha256-([0-9a-f]{64})")


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into ``OutputError``."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(error.filename or path), detail=error.strerror or str(error)) from error


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to read ``path`` into ``UnreadableState``."""
    try:
        yield
    except OSError as error:
        from llmcli.errors.saved_state_errors import UnreadableState

        raise UnreadableState(str(error.filename or path), detail=error.strerror or str(error)) from error


def unreadable_error(path: Path, error: OSError) -> MissingError:
    """Return the error for a model's file that does not exist (kind "model file") or cannot be read (kind "place")."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return MissingError(
        str(error.filename or path), kind="model file" if missing else "place", detail=error.strerror or str(error)
    )


def list_directory(directory: Path) -> list[Path]:
    """Return the entries of a directory, sorted; none if it is missing. Raises ``MissingError`` (kind "place")."""
    with translate_read_errors(directory), suppress(FileNotFoundError, NotADirectoryError):
        return sorted(directory.iterdir())
    return []


def check_removable(paths: Iterable[Path]) -> None:
    """Raise ``OutputError`` unless all files at ``paths`` may be removed; called before any of them is."""
    for directory in sorted({path.parent for path in paths if os.path.lexists(path)}):
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OutputError(str(directory), detail=os.strerror(errno.EACCES))


def check_regular_file(path: Path, status: os.stat_result) -> None:
    """Refuse what cannot be a model before it is opened. Raises ``BadModelFile``."""
    if stat.S_ISDIR(status.st_mode):
        raise BadModelFile(str(path), detail="it is a directory; name the model file in it")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer, a device may never end
        raise BadModelFile(str(path), detail="it is not a regular file")


def open_model(path: Path) -> BinaryIO:
    """Open a model's file for reading if it is a regular file. Raises ``BadModelFile`` and ``OSError``.

    The open file is checked, and opening does not block: after an earlier check the path may have become a pipe.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        check_regular_file(path, os.fstat(descriptor))
    except BadModelFile:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def hub_cache_directory(environ: Mapping[str, str]) -> Path:
    """Return the cache's directory as huggingface_hub finds it (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME)."""
    for variable in HUB_CACHE_VARIABLES[:2]:
        if environ.get(variable):
            return Path(os.path.expandvars(environ[variable])).expanduser()
    return hub_home(environ) / "hub"


def hub_home(environ: Mapping[str, str]) -> Path:
    """Return HF_HOME, where huggingface_hub also stores the token."""
    if environ.get("HF_HOME"):
        return Path(os.path.expandvars(environ["HF_HOME"])).expanduser()
    caches = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(caches) / "huggingface"


def announced_sha256(path: Path) -> str | None:
    """Return the SHA-256 that the source announced for a file: the name of its blob in the cache or in Ollama's folder.

    None for other files.
    """
    blob = link_target(path) if path.is_symlink() else path
    ollama = _OLLAMA_BLOB.fullmatch(blob.name)
    if ollama and blob.parent.name == "blobs":
        return ollama.group(1)
    in_cache = blob.parent.name == "blobs" and blob.parent.parent.name.startswith("models--")
    return blob.name if in_cache and _SHA256.fullmatch(blob.name) else None


def list_copied_types(directory: Path, sha256: str) -> list[str]:
    """Return the types of the complete copies of a model in other types, by their records' names (``DerivedKey``)."""
    return sorted({path.name.split("-")[1] for path in directory.glob(f"{sha256[:32]}-*-*.json")} if sha256 else ())


def link_target(link: Path) -> Path:
    """Return the target of a snapshot's link, one step only: a blob may itself be a link into a shared store.

    Its directory is named without links, so that one file has one name.
    """
    target = link.parent / link.readlink()
    return Path(os.path.realpath(target.parent)) / target.name  # resolve() raises RuntimeError for circular links


def is_path(name: str) -> bool:
    """Return whether ``name`` means a file: it starts like a path, or ends in .gguf and exists."""
    return name.startswith(("/", "./", "../", "~")) or (name.lower().endswith(".gguf") and _may_exist(name))


def _may_exist(name: str) -> bool:
    try:
        Path(name).lstat()
    except PermissionError:  # in a directory without permission to enter: the caller reports it
        return True
    except (OSError, ValueError):
        return False
    return True
