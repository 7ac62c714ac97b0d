"""The checks of one statement: the output, and everything that it was made of."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.parsing.parameters import CommandParameter
from llmcli.cli.provenance.command_parameters import STDIN, PrivateText, digest_text, find_private_texts
from llmcli.config.engine_options import split_scale
from llmcli.errors import MissingError, ModelNotDownloaded
from llmcli.fast_dataclass import frozen
from llmcli.models.files.file_bytes import hash_file
from llmcli.provenance.digest_key import DigestKey, digest_public_file, is_keyed
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.models.files.model_file import ModelFile


class StatementCheckState(StrEnum):
    """What a check has found."""

    OK = "ok"
    CHANGED = "changed"
    MISSING = "missing"
    UNCHECKED = "unchecked"


@frozen
class StatementCheck:
    """What was checked: its ``kind`` ("output", "input", "text", "prompt", "model", ...), its name, and what was found.

    ``note`` says why something was not checked. ``needs_key``: another key than that of the user is needed.
    """

    state: StatementCheckState
    kind: str
    name: str
    note: str = ""
    needs_key: bool = False


@frozen
class GivenTexts:
    """The texts of a run that the user gives, and standard input, if that is one of them."""

    texts: Sequence[str]
    stdin: bytes | None = None


class StatementChecker:
    """Checks the predicate of a statement in the directory in which its command ran."""

    def __init__(
        self,
        ctx: CommandContext,
        predicate: Mapping[str, Any],
        parameters: Sequence[CommandParameter],
        key: DigestKey | None,
    ) -> None:
        """``key`` is that of the user, None if there is none."""
        self._ctx = ctx
        self._predicate = predicate
        self._key = key if key is not None and key.id == predicate["key"] else None
        self._other_key = "made with another key" if key is not None else "this machine has no key"
        self.private_texts: list[PrivateText] = find_private_texts(parameters, predicate["parameters"])
        self.open_texts: dict[str, str] = {}
        """The private texts that the user gave, by their digests."""

    def run(self, given: GivenTexts) -> Iterator[StatementCheck]:
        """Yield a check for each thing."""
        yield from self._check_inputs(given)
        yield from self._check_texts(given)
        for prompt in self._predicate["prompts"]:
            yield self._compare("prompt", prompt, self._prompt_file)
        yield from self._check_model()

    # ---- what the user gave ---------------------------------------------------------------------------------------

    def _check_inputs(self, given: GivenTexts) -> Iterator[StatementCheck]:
        for each in self._predicate["inputs"]:
            if each["name"] == STDIN:
                yield self._check_stdin(each, given)
            else:
                yield self._compare("input", each)
        if given.stdin is not None and all(each["name"] != STDIN for each in self._predicate["inputs"]):
            yield StatementCheck(StatementCheckState.CHANGED, "text", "--text -", "the run did not read standard input")

    def _check_stdin(self, described: Mapping[str, Any], given: GivenTexts) -> StatementCheck:
        name = "standard input"
        if self._key is None:
            return StatementCheck(StatementCheckState.UNCHECKED, "input", name, self._other_key, needs_key=True)
        if given.stdin is None:
            return StatementCheck(StatementCheckState.UNCHECKED, "input", name, "not kept; give it: --text - < FILE")
        same = self._key.digest(given.stdin) == described["digest"]
        return StatementCheck(StatementCheckState.OK if same else StatementCheckState.CHANGED, "input", name)

    def _check_texts(self, given: GivenTexts) -> Iterator[StatementCheck]:
        key = self._key
        if key is None:
            yield from (
                StatementCheck(StatementCheckState.UNCHECKED, "text", each.label, self._other_key, needs_key=True)
                for each in self.private_texts
            )
            return
        self.open_texts = {digest_text(key, text): text for text in given.texts}
        unknown = set(self.open_texts) - {each.digest for each in self.private_texts}
        for each in self.private_texts:
            if each.digest in self.open_texts:
                yield StatementCheck(StatementCheckState.OK, "text", each.label)
            elif not unknown:
                yield StatementCheck(
                    StatementCheckState.UNCHECKED, "text", each.label, "not kept; give it: --text TEXT"
                )
        for digest in unknown:
            del self.open_texts[digest]
            yield StatementCheck(StatementCheckState.CHANGED, "text", "--text", "it is not a text of this run")

    # ---- files ----------------------------------------------------------------------------------------------------

    def _compare(self, kind: str, described: Mapping[str, Any], find: Callable[[str], str] = str) -> StatementCheck:
        """Compare a file with its digests; ``find`` returns its path from its name."""
        name = described["name"]
        if "note" in described or "digest" not in described:
            return StatementCheck(StatementCheckState.UNCHECKED, kind, name, described.get("note", ""))
        digests = described["digest"]
        if is_keyed(digests) and self._key is None:
            return StatementCheck(StatementCheckState.UNCHECKED, kind, name, self._other_key, needs_key=True)
        digest_file = self._key.digest_file if is_keyed(digests) and self._key is not None else digest_public_file
        try:
            path = find(name)
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a Path raises for some names)
                return StatementCheck(StatementCheckState.MISSING, kind, name, "not a regular file")
            found = digest_file(path, self._ctx.runtime.interrupt)
        except (OSError, ValueError, MissingError) as error:  # ValueError: a NUL character
            return StatementCheck(StatementCheckState.MISSING, kind, name, getattr(error, "strerror", None) or "")
        return StatementCheck(StatementCheckState.OK if found == digests else StatementCheckState.CHANGED, kind, name)

    def _prompt_file(self, name: str) -> str:
        """Return the path of a prompt, which may be named by it."""
        prompts = self._ctx.runtime.prompts
        return str(prompts.path(name)) if prompts.exists(name) else os.path.expanduser(name)  # noqa: PTH111 (a Path raises for some names)

    # ---- what answered --------------------------------------------------------------------------------------------

    def _check_model(self) -> Iterator[StatementCheck]:
        """Hash the files of the model again: a change that keeps size and time is found too."""
        if "server" in self._predicate:
            server = self._predicate["server"]
            yield StatementCheck(
                StatementCheckState.UNCHECKED,
                "server",
                str(server.get("origin", "")),
                "its model cannot be checked here",
            )
        model = self._predicate.get("model")
        if model is None:
            return
        yield self._check_model_file("model", model["reference"], model["digest"])
        if "copy" in model:
            yield self._check_copy(model)
        for adapter in model.get("adapters", ()):
            yield self._compare("adapter", adapter, _adapter_file)
        if "draft" in model:
            yield self._check_model_file("draft model", model["draft"]["name"], model["draft"]["digest"])

    def _check_model_file(self, kind: str, name: str, digests: Mapping[str, str]) -> StatementCheck:
        try:
            model = self._ctx.runtime.models.find(name)
            with self._ctx.console.status_line.waiting(Phase.CHECKING, model.name):
                found = self._hash_model(model)
        except (ModelNotDownloaded, MissingError):
            return StatementCheck(StatementCheckState.MISSING, kind, name)
        except OSError as error:
            return StatementCheck(StatementCheckState.MISSING, kind, name, error.strerror or "")
        return StatementCheck(StatementCheckState.OK if found == digests else StatementCheckState.CHANGED, kind, name)

    def _hash_model(self, model: ModelFile) -> dict[str, str]:
        hashes = [hash_file(part, self._ctx.runtime.interrupt) for part in model.parts or (model.path,)]
        return {"sha256": hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()}

    def _check_copy(self, model: Mapping[str, Any]) -> StatementCheck:
        name = f"{model['reference']} in {model['weights']}"
        copies = self._ctx.runtime.models.derived_weights.list_copies()
        source, wanted = model["digest"].get("sha256"), model["copy"].get("sha256")
        copy = next((each for each in copies if each.key.source == source and each.sha256 == wanted), None)
        if copy is None:
            return StatementCheck(
                StatementCheckState.UNCHECKED, "weights", name, "this copy is no longer kept; llm makes it again"
            )
        same = hash_file(copy.path, self._ctx.runtime.interrupt) == wanted
        return StatementCheck(StatementCheckState.OK if same else StatementCheckState.CHANGED, "weights", name)


def _adapter_file(text: str) -> str:
    """Return the path in FILE[:SCALE]."""
    return os.path.expanduser(split_scale(text)[0])  # noqa: PTH111 (the same)


@contextlib.contextmanager
def working_directory(output: Path, predicate: Mapping[str, Any]) -> Iterator[None]:
    """Run the block in the directory of a statement's command, seen from its output, if it still exists."""
    directory = output.absolute().parent / predicate["directory"]
    if not directory.is_dir():
        yield
        return
    with contextlib.chdir(directory):
        yield
