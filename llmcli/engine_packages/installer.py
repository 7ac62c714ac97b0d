"""Installs a prebuilt library of llama.cpp: download, checksum, unpacking and check, then one rename.

Everything happens in a private directory beside the engines; an engine appears under its name only when it is complete
and has passed its check, and an earlier one stays until then. What a killed process left is removed by the next
installation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from llmcli import __version__, engine_library
from llmcli.engine_library import EngineLibrary
from llmcli.engine_packages.package_table import EnginePackage
from llmcli.errors import AccessDenied, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import ReadTimedOut, ServerUnreachable, UntrustedDownload
from llmcli.files import private_files
from llmcli.files.file_lock import hold_lock
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import check_disk_space
from llmcli.models.files.paths import translate_write_errors
from llmcli.network.retry_policy import parse_retry_after
from llmcli.network.statuses import is_denied_status, is_missing_status, is_temporary_status
from llmcli.network.transfers import DownloadAttempts, DownloadRetryPolicy, FirstItemTimeout, iterate_in_thread
from llmcli.types import Progress

if TYPE_CHECKING:
    from llmcli.network.cancellation import CancelToken

RETRY_POLICY = DownloadRetryPolicy(max_connect_tries=3)
"""No other source has the packages."""
_SCRATCH_PREFIX = ".install-"
_LOCK_FILE = ".lock"
_LOCK_POLL_S = 0.2
_PARTIAL_CONTENT, _OK = 206, 200
_LICENCE_FILE = "LICENSE"
_MAX_LICENCE_BYTES = 1 << 16
_UNUSED_LIBRARIES = ("libllama-common.",)
"""Begin the names of files that nothing here loads."""


def install_package(
    package: EnginePackage,
    engines: Path,
    interrupt: Interrupt,
    check: Callable[[EngineLibrary], object],
    registry: str,
) -> Generator[Progress, None, EngineLibrary]:
    """Install a package below ``engines``, replacing an earlier one of its kind, and return its library.

    ``check`` raises for a library that must not be used. Raises ``TemporaryFailure`` if the registry cannot be reached,
    ``RemoteError`` for other bytes than the announced ones, ``AccessDenied``, ``OutputError``, and what
    ``interrupt.check`` raises; an earlier engine then stays.
    """
    with translate_write_errors(engines):
        private_files.make_directory(engines)
    with _hold_scratch(engines, interrupt) as scratch:
        check_disk_space(scratch, package.size + package.installed_size)
        archive = scratch / "archive.tgz"
        with translate_write_errors(scratch):
            yield from _download(package, archive, interrupt, registry)
            directory = scratch / package.kind
            directory.mkdir(private_files.DIRECTORY_MODE)
            _unpack(package, archive, directory)
            manifest = {"kind": package.kind, "version": package.version, "package": package.name}
            digest = EngineLibrary(package.kind, directory).digest()
            more = {"llama_cpp": package.llama_cpp, "sha512": package.sha512, "registry": registry, "digest": digest}
            private_files.write_file(directory / engine_library.MANIFEST, json.dumps({**manifest, **more}).encode())
        check(engine_library.library_in(directory))
        interrupt.check()
        with translate_write_errors(engines):
            target = engines / package.kind
            with suppress(FileNotFoundError):
                target.rename(scratch / "replaced")
            directory.rename(target)
    return engine_library.library_in(target)


@contextmanager
def _hold_scratch(engines: Path, interrupt: Interrupt) -> Iterator[Path]:
    """Yield a private directory below ``engines`` that vanishes with the block; one process at a time has one."""
    with translate_write_errors(engines):
        lock = hold_lock(engines / _LOCK_FILE, timeout_s=None, poll_s=_LOCK_POLL_S, check=interrupt.check)
        with lock:
            for left in engines.glob(f"{_SCRATCH_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=engines, ignore_cleanup_errors=True) as name:
                yield Path(name)


# ---- the archive -----------------------------------------------------------------------------------------------------


class _ArchiveFile:
    """The bytes of a package's archive so far, and their hash."""

    def __init__(self, file: IO[bytes], package: EnginePackage, registry: str) -> None:
        self._file, self._package, self._registry = file, package, registry
        self._digest = hashlib.sha512()
        self.size = 0

    def restart(self) -> None:
        """Forget the bytes so far."""
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.size = hashlib.sha512(), 0

    def append(self, block: bytes) -> None:
        """Write more bytes. Raises ``RemoteError`` for more than the package has."""
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)
        if self.size > self._package.size:
            detail = f"{self._registry} sent more than {self._package.size:,} bytes"
            raise RemoteError(self._package.label, detail=detail)

    def require_complete(self) -> None:
        """Raise ``TemporaryFailure`` if bytes are missing."""
        if self.size < self._package.size:
            detail = f"the connection ended after {self.size:,} of {self._package.size:,} bytes"
            raise TemporaryFailure(self._package.label, detail=detail)

    def require_match(self) -> None:
        """Raise ``RemoteError`` if the hash is another than the known one."""
        if base64.b64encode(self._digest.digest()).decode() != self._package.sha512:
            detail = f"the bytes of {self._registry} do not match the SHA-512 that llm knows"
            raise RemoteError(self._package.label, detail=detail)


def _download(package: EnginePackage, path: Path, interrupt: Interrupt, registry: str) -> Iterator[Progress]:
    """Write the archive to ``path``; each attempt continues after the bytes of the one before."""
    attempts = DownloadAttempts(RETRY_POLICY, package.label, interrupt)
    with path.open("wb") as file:
        archive = _ArchiveFile(file, package, registry)
        furthest = 0
        while archive.size < package.size:
            try:
                for block in _receive(package, registry, archive.size, interrupt):
                    if block is None:  # the server sends everything again
                        archive.restart()
                        continue
                    archive.append(block)
                    attempts.add_bytes(len(block))
                    yield Progress(archive.size, package.size, "bytes", package.label)
                archive.require_complete()
            except TemporaryFailure as error:
                has_progressed = archive.size > furthest
                furthest = max(furthest, archive.size)
                attempts.wait_or_raise(error, has_progressed=has_progressed)
        archive.require_match()


def _receive(package: EnginePackage, registry: str, start: int, interrupt: Interrupt) -> Iterator[bytes | None]:
    """Yield the bytes of the archive from ``start`` on; None first if they come from its beginning nevertheless."""
    import httpx2

    from llmcli.network.cancellation import CancelToken
    from llmcli.network.failures import ConnectionFailure, FailureErrors

    call = CancelToken()
    items = _request(package, registry, start, call)
    try:
        yield from iterate_in_thread(items, interrupt, RETRY_POLICY.response_timeout_s, call.cancel)
    except FirstItemTimeout as error:
        raise ServerUnreachable(package.label, detail=f"no answer from {registry}") from error
    except ConnectionFailure as error:
        errors = FailureErrors(ServerUnreachable, ReadTimedOut, untrusted=UntrustedDownload)
        raise error.make_error(package.label, errors) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise RemoteError(package.label, detail=f"{registry}: {error}") from error


def _request(package: EnginePackage, registry: str, start: int, call: CancelToken) -> Iterator[bytes | None]:
    from llmcli.network.connections import CALL_EXTENSION, open_client

    headers = {"user-agent": f"llmcli/{__version__}", "accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    policy, extensions = RETRY_POLICY, {CALL_EXTENSION: call}
    timeouts = {"connect_timeout_s": policy.connect_timeout_s, "read_timeout_s": policy.read_timeout_s}
    with (
        open_client(os.environ, **timeouts) as client,
        client.stream("GET", package.url(registry), headers=headers, extensions=extensions) as response,
    ):
        status = response.status_code
        if is_temporary_status(status):
            wait = parse_retry_after({name.lower(): value for name, value in response.headers.items()})
            raise TemporaryFailure(package.label, retry_after=wait, detail=f"{registry}: HTTP status {status}")
        if is_denied_status(status):
            raise AccessDenied(package.label, detail=f"{registry}: HTTP status {status}")
        if is_missing_status(status):
            raise MissingError(
                package.label,
                kind="package",
                detail=f"{registry}: HTTP status {status}",
                message="cannot download {subject}: {detail}",
                advice="If npm_config_registry names a mirror, it may lack the package.",
                type_name="PackageMissing",
            )
        if status not in {_OK, _PARTIAL_CONTENT}:
            raise RemoteError(package.label, detail=f"{registry}: HTTP status {status}")
        if status == _OK:
            yield None
        yield from response.iter_raw()  # as they come: what a broken connection has delivered counts


def _unpack(package: EnginePackage, archive: Path, directory: Path) -> None:
    """Write the libraries and the licence of an archive, and nothing else, into ``directory``.

    Raises ``RemoteError``.
    """
    size = 0
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                name = _wanted_name(member)
                if not name:
                    continue
                size += member.size
                source = members.extractfile(member)
                if source is None or size > package.installed_size + _MAX_LICENCE_BYTES:
                    raise RemoteError(package.label, detail="its archive has other contents than llm knows")
                with source:
                    _write_member(source, directory / name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise RemoteError(package.label, detail=str(error)) from error
    library = engine_library.library_in(directory)
    if not library.main_file.exists():  # it is called libllama.v0.5.0.so, and its dependents look for that name
        found = next(iter(sorted(directory.glob("libllama.*"))), None)
        if found is None:
            raise RemoteError(package.label, detail="its archive has no libllama")
        library.main_file.with_suffix(found.suffix).symlink_to(found.name)


def _wanted_name(member: tarfile.TarInfo) -> str:
    """Return under which name a member is installed, "" if it is not needed."""
    path = PurePosixPath(member.name)
    if not member.isreg():
        return ""
    if path == PurePosixPath("package", _LICENCE_FILE):
        return _LICENCE_FILE
    is_library = path.name.startswith("lib") and path.suffix in {".so", ".dylib"}
    if path.parts[:2] != ("package", "bins") or not is_library or path.name.startswith(_UNUSED_LIBRARIES):
        return ""
    return path.name


def _write_member(source: IO[bytes], path: Path) -> None:
    descriptor = private_files.open_file(path, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file)


# ---- what is installed -----------------------------------------------------------------------------------------------


def select_engine(engines: Path, name: str) -> None:
    """Use the engine called ``name`` from now on. Raises ``OutputError``."""
    with translate_write_errors(engines):
        private_files.replace_file(engine_library.selection_file(engines), f"{name}\n".encode())


def remove_engine(engines: Path, name: str) -> None:
    """Remove an installed engine; if it was selected, none is any more. Raises ``OutputError``."""
    with translate_write_errors(engines):
        if engine_library.read_selection(engines) == name:
            engine_library.selection_file(engines).unlink()
        with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=engines) as scratch:
            (engines / name).rename(Path(scratch) / name)  # so that no half of it can be found
