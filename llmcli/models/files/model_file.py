"""A model on this machine, as data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.fast_dataclass import asdict, frozen
from llmcli.models.files.paths import announced_sha256

if TYPE_CHECKING:
    from llmcli.config.engine_options import LoraAdapter


@frozen
class ModelFile:
    """A model on this machine.

    ``path`` is the file to load (of a split model the first of ``parts``), ``size`` the bytes of all parts. ``sha256``
    of ``path`` was ``announced`` by its source or pinned by the catalogue, or else computed here; None before that.
    ``verified``: it was verified, and size and time of the files are unchanged; ``damaged``: the hash was wrong.
    ``repo``, ``file`` and ``revision``: its origin on the Hub; ``catalogue``: its name in the catalogue. ``adapters``
    change its weights in this run, and ``draft`` drafts tokens for it. ``part_hashes``: the SHA-256 of each part of a
    split model, () if one is unknown. These three are no part of what is stored about it.
    """

    name: str
    path: Path
    size: int
    sha256: str | None = None
    announced: bool = False
    repo: str | None = None
    file: str | None = None
    revision: str | None = None
    quantization: str | None = None
    catalogue: str | None = None
    architecture: str | None = None
    context: int | None = None
    parts: tuple[Path, ...] = ()
    verified: bool = False
    damaged: bool = False
    adapters: tuple[LoraAdapter, ...] = ()
    draft: ModelFile | None = None
    part_hashes: tuple[str, ...] = ()

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of all weights: that of the file, or of the hashes of its parts; None if one is unknown."""
        if len(self.parts) <= 1:
            return self.sha256
        if not self.part_hashes:
            return None
        import hashlib

        return hashlib.sha256("".join(self.part_hashes).encode()).hexdigest()

    @property
    def model_id(self) -> str:
        """What identifies its weights: their hash, or the absolute path if that is unknown; without adapters."""
        return self.weights_sha256 or str(self.path.absolute())

    @property
    def adapted_id(self) -> str:
        """What identifies its weights with its adapters."""
        if not self.adapters:
            return self.model_id
        from llmcli.config.engine_options import adapted_model_id

        return adapted_model_id(self.model_id, self.adapters)

    @property
    def adapters_id(self) -> str:
        """What identifies its adapters, "" if it has none."""
        return self.adapted_id if self.adapters else ""

    @property
    def memory_bytes(self) -> int:
        """The bytes that its weights and adapters take in memory."""
        return self.size + sum(adapter.size for adapter in self.adapters)

    @property
    def draft_path(self) -> Path | None:
        """The absolute path of its draft model, None without one."""
        return None if self.draft is None else self.draft.path.absolute()

    @property
    def missing(self) -> bool:
        """Whether one of its files no longer exists."""
        return not all(map(os.path.isfile, self.parts))

    @property
    def incomplete(self) -> bool:
        """Whether some of its files exist and others do not."""
        return self.missing and any(map(os.path.isfile, self.parts))

    def expected_sha256(self, part: Path) -> str | None:
        """Return the hash that was announced for one of ``parts``, None if there is none."""
        return self.sha256 if self.announced and part == self.path else announced_sha256(part)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without adapters, draft model and hashes of parts."""
        fields = asdict(self) | {"path": str(self.path), "parts": [str(part) for part in self.parts]}
        del fields["adapters"], fields["draft"], fields["part_hashes"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ModelFile:
        """Return the model from the output of ``to_json``. Raises ``TypeError`` and ``KeyError`` for other fields."""
        texts = ("sha256", "repo", "file", "revision", "quantization", "catalogue", "architecture")
        if not isinstance(fields["name"], str) or not all(isinstance(fields.get(key), str | None) for key in texts):
            raise TypeError("expected texts")
        if not isinstance(fields["size"], int) or not isinstance(fields.get("context"), int | None):
            raise TypeError("expected numbers")
        paths = {"path": Path(fields["path"]), "parts": tuple(Path(part) for part in fields["parts"])}
        return cls(**{**fields, **paths})
