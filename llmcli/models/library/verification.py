"""Verification of models before they are loaded: their SHA-256 is the announced one, or the same as before."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

from llmcli.errors import BadModelFile, DamagedModel
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.names import model_stem, part_names
from llmcli.models.files.paths import announced_sha256, unreadable_error
from llmcli.models.gguf.header_parser import check_is_model, is_adapter, read_header
from llmcli.models.library.inventory import read_file_record
from llmcli.models.library.registry import FileRecord, KnownChecksums, ModelRegistry
from llmcli.types import Progress


class ModelVerifier:
    """Compares models with the ``checksums`` of their files, and records the results in ``registry``."""

    def __init__(self, checksums: KnownChecksums, registry: ModelRegistry) -> None:
        self._checksums = checksums
        self._registry = registry

    def verify(
        self, model: ModelFile, key: str, interrupt: Interrupt, *, again: bool = False
    ) -> Generator[Progress, None, ModelFile]:
        """Verify ``model`` and return it with its facts, recorded as the model that ``key`` means.

        Parts are hashed if they are new or have changed; with ``again`` all of them, and one without an announced hash
        must be unchanged. Then ``model`` may be a LoRA adapter too, which gets no name as a model. Yields how many
        bytes were read. Raises ``DamagedModel``, ``BadModelFile`` for a damaged file of another program that was named
        by its path, and ``MissingError``.
        """
        adapter = again and _is_adapter(model.path)
        records: dict[Path, FileRecord] = {}
        for part in model.parts:
            known = None if again else self._checksums.verified_record(model, part)
            if known is not None and part == model.path:
                check_is_model(read_header(part), str(part))  # the hash of an adapter is known if --lora applied it
            before = sum(record.size for record in records.values())
            records[part] = known or (
                yield from self._verify_part(model, part, before, interrupt, again=again, adapter=adapter)
            )
        facts = records[model.path]
        model = replace(
            model,
            sha256=facts.sha256,
            quantization=model.quantization or facts.quantization,
            architecture=facts.architecture,
            context=facts.context,
            verified=True,
            damaged=False,
            part_hashes=tuple(records[part].sha256 for part in model.parts),
        )
        self._registry.save_records(records, {} if adapter else {key: model.to_json()})
        return model

    def _verify_part(
        self, model: ModelFile, part: Path, before: int, interrupt: Interrupt, *, again: bool, adapter: bool
    ) -> Generator[Progress, None, FileRecord]:
        from llmcli.models.files.file_bytes import hash_steps

        last = self._registry.last_record(part)
        expected = self._checksums.expected_sha256(model, part)
        if again and expected is None and last is not None:
            expected = last.sha256
        try:
            status = part.stat()  # from before the hashing: a change meanwhile invalidates the record
            found = yield from track_progress(
                hash_steps(part, interrupt), Progress(before, model.size, "bytes", model.name)
            )
        except OSError as error:
            raise unreadable_error(part, error) from error
        announced = last is not None and last.announced
        promise = "announced" if announced or model.expected_sha256(part) else "expected"
        if expected not in (found, None):
            detail = f"SHA-256 is {found}, {promise} was {expected}"
            if adapter and promise == "expected":
                self._raise_changed_adapter(model, part, detail)
            record = FileRecord(status.st_size, status.st_mtime_ns, str(expected), announced=announced, damaged=True)
            self._registry.save_records({part: record})
            self._raise_damaged(model, part, detail, interrupt)
        facts = read_file_record(part, found, adapter=adapter)
        return replace(facts, size=status.st_size, mtime_ns=status.st_mtime_ns, announced=announced)

    def _raise_changed_adapter(self, model: ModelFile, part: Path, detail: str) -> NoReturn:
        """Refuse a changed adapter, whose new bytes the next command uses: no source announced the old ones."""
        self._registry.forget_file(part)
        repair = f"llm models verify {shlex.quote(str(part))}"
        raise DamagedModel(model.name, detail=detail, repair=repair, note="it accepts the adapter as it is now")

    def _raise_damaged(self, model: ModelFile, part: Path, detail: str, interrupt: Interrupt) -> NoReturn:
        if model.repo is not None:
            raise DamagedModel(model.name, detail=detail)
        if announced_sha256(part) is not None:
            raise BadModelFile(str(part), detail=f"it is damaged: {detail}")
        name = model_stem(model.path.name)
        if not self._checksums.is_imported_copy(part):
            repair, note = f"llm models pull {shlex.quote(str(model.path))}", "it accepts the file as it is now"
        elif (origin := self._intact_origin(model, name, interrupt)) is not None:
            repair, note = f"llm models import {shlex.quote(origin)} --name {name}", ""
        else:
            repair, note = f"llm models rm {name}", "then import a good copy of it"
        raise DamagedModel(model.name, detail=detail, repair=repair, note=note)

    def _intact_origin(self, model: ModelFile, name: str, interrupt: Interrupt) -> str | None:
        """Return the path that the copy ``name`` was imported from if it is unchanged, else None.

        The original of a hard link is the damaged file itself.
        """
        from llmcli.models.files.file_bytes import hash_file

        origin: str | None = self._registry.sections["origins"].get(name)
        if origin is None:
            return None
        originals = [Path(origin).with_name(part) for part in part_names(Path(origin).name)]
        known = [self._registry.last_record(part) for part in model.parts]
        try:
            for original, record in zip(originals, known, strict=True):
                if record is None or hash_file(original, interrupt) != record.sha256:
                    return None
        except (OSError, ValueError, BadModelFile):  # missing, or another number of files
            return None
        return origin


def _is_adapter(path: Path) -> bool:
    """Return whether a file is a LoRA adapter. Raises ``MissingError``."""
    try:
        return is_adapter(read_header(path))
    except BadModelFile:  # its hash says what is wrong
        return False


def track_progress(steps: Generator[int, None, str], start: Progress) -> Generator[Progress, None, str]:
    """Return the result of ``steps``, and yield its bytes as progress from ``start`` on."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return str(end.value)
        yield replace(start, done=start.done + done)


def run_to_completion(steps: Generator[Progress, None, ModelFile]) -> ModelFile:
    """Return the result of ``steps``, without progress."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            model: ModelFile = end.value
            return model
