"""The names by which clients of ``llm serve`` and requests of a batch know the models on this machine."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress

from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import is_path
from llmcli.models.library.resolver import ModelResolver


class ServedNames:
    """The models on this machine, and the configured model if that is a path, as ``resolver`` finds them now.

    A model that is known by its path has its alias or the name of its file, with directories if that is taken.
    """

    def __init__(self, resolver: ModelResolver) -> None:
        """Read the models. Raises ``UnreadableState``."""
        self._resolver = resolver
        models = {model.name: model for model in resolver.list() if not model.missing and not model.damaged}
        with suppress(MissingError, ModelNotDownloaded, BadModelFile):
            default = resolver.find()
            models.setdefault(default.name, default)
        self.models = [*models.values()]
        self.files: Mapping[str, str] = _file_names(
            [model for name, model in models.items() if is_path(name)],
            {*models, *(alias.name for alias in resolver.defaults.aliases())},
        )
        """The paths of models by the names of their files."""


def name_for_clients(resolver: ModelResolver, model: ModelFile, files: Mapping[str, str]) -> str:
    """Return the name of a model for clients, which do not see the paths of this machine; ``files``: as above."""
    if not is_path(model.name):
        return model.name
    return [
        *resolver.aliases_of(model),
        *(name for name, path in files.items() if path == model.name),
        model.path.name,
    ][0]


def _file_names(models: Iterable[ModelFile], taken: Container[str]) -> dict[str, str]:
    """Return the names of models by the names of their files, with as many directories as set each apart."""
    names: dict[str, str] = {}
    for model in models:
        parts = model.path.parts
        tails = ("/".join(parts[-length:]) for length in range(1, len(parts) + 1))
        names[next(tail for tail in tails if tail not in names and tail not in taken)] = model.name
    return names
