"""That no model is loaded unchecked: its bytes have the SHA-256 that was announced, or that they had before."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from llmcli.errors import BadModelFile, DamagedModel
from llmcli.interrupt import Interrupt
from llmcli.models.file import ModelFile
from llmcli.models.names import parts, stem
from llmcli.models.paths import announced_sha256, unreadable
from llmcli.models.registry import FileRecord, Registry
from llmcli.models.shelf import read_facts
from llmcli.models.trust import Trust
from llmcli.types import Progress


class Checker:
    """Compares models with what ``trust`` knows of their files, and lets ``registry`` remember what was found."""

    def __init__(self, trust: Trust, registry: Registry) -> None:
        self._trust = trust
        self._registry = registry

    def check(
        self, model: ModelFile, key: str, interrupt: Interrupt, *, again: bool = False
    ) -> Generator[Progress, None, ModelFile]:
        """Return ``model`` with what is known of it once its bytes are right, remembered as what ``key`` means.

        Those parts are hashed that were not yet, or that have changed since; with ``again`` all of them, and one that
        nobody announced has to be as it was. Yields how many bytes were read. Raises ``DamagedModel``, for a damaged
        file of another program that was named by its path ``BadModelFile``, and ``MissingError``.
        """
        records: dict[Path, FileRecord] = {}
        for part in model.parts:
            known = None if again else self._trust.checked(model, part)
            before = sum(record.size for record in records.values())
            records[part] = known or (yield from self._hash(model, part, before, interrupt, again=again))
        facts = records[model.path]
        model = replace(
            model,
            sha256=facts.sha256,
            quantization=model.quantization or facts.quantization,
            architecture=facts.architecture,
            context=facts.context,
            verified=True,
            damaged=False,
        )
        self._registry.remember(records, {key: model.to_json()})
        return model

    def _hash(
        self, model: ModelFile, part: Path, before: int, interrupt: Interrupt, *, again: bool
    ) -> Generator[Progress, None, FileRecord]:
        from llmcli.models.partial import hashing

        last = self._registry.last(part)
        expected = self._trust.expected_sha256(model, part)
        if again and expected is None and last is not None:
            expected = last.sha256
        try:
            status = part.stat()  # from before the hashing: a change meanwhile makes the record void
            found = yield from counted(hashing(part, interrupt), Progress(before, model.size, "bytes", model.name))
        except OSError as error:
            raise unreadable(part, error) from error
        announced = last is not None and last.announced
        promise = "announced" if announced or model.expected_sha256(part) else "expected"
        if expected not in (found, None):
            record = FileRecord(status.st_size, status.st_mtime_ns, str(expected), announced=announced, damaged=True)
            self._registry.remember({part: record})
            self._refuse(model, part, f"SHA-256 is {found}, {promise} was {expected}", interrupt)
        facts = read_facts(part, found)
        return replace(facts, size=status.st_size, mtime_ns=status.st_mtime_ns, announced=announced)

    def _refuse(self, model: ModelFile, part: Path, detail: str, interrupt: Interrupt) -> NoReturn:
        if model.repo is not None:
            raise DamagedModel(model.name, detail=detail)
        if announced_sha256(part) is not None:
            raise BadModelFile(str(part), detail=f"it is damaged: {detail}")
        name = stem(model.path.name)
        if not self._trust.owns(part):
            repair, note = f"llm models pull {shlex.quote(str(model.path))}", "it accepts the file as it is now"
        elif (origin := self._good_origin(model, name, interrupt)) is not None:
            repair, note = f"llm models import {shlex.quote(origin)} --name {name}", ""
        else:
            repair, note = f"llm models rm {name}", "then import a good copy of it"
        raise DamagedModel(model.name, detail=detail, repair=repair, note=note)

    def _good_origin(self, model: ModelFile, name: str, interrupt: Interrupt) -> str | None:
        """Return the path that the copy ``name`` was imported from if all is there as it was then, else None.

        Of a hard link the original is the damaged file itself.
        """
        from llmcli.models.partial import hash_file

        origin: str | None = self._registry.data["origins"].get(name)
        if origin is None:
            return None
        originals = [Path(origin).with_name(part) for part in parts(Path(origin).name)]
        known = [self._registry.last(part) for part in model.parts]
        try:
            for original, record in zip(originals, known, strict=True):
                if record is None or hash_file(original, interrupt) != record.sha256:
                    return None
        except (OSError, ValueError, BadModelFile):  # gone, or another number of files
            return None
        return origin


def counted(steps: Generator[int, None, str], start: Progress) -> Generator[Progress, None, str]:
    """Return what ``steps`` return, and yield the bytes that they yield as progress on from ``start``."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return str(end.value)
        yield replace(start, done=start.done + done)


def settled(steps: Generator[Progress, None, ModelFile]) -> ModelFile:
    """Return what ``steps`` return, where nobody watches."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            model: ModelFile = end.value
            return model
