"""The models of this machine as ``llm serve`` offers them: by the names that clients use."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded
from llmcli.fast_dataclass import replace
from llmcli.machine_needs import LABELS, SERVER
from llmcli.models.files.paths import is_path
from llmcli.runtime import model_weights

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.serve.worker_router import ListedModel
    from llmcli.worker.client.channel import WorkerLauncher


class ServedModels:
    """The models of this machine as a ``ModelProvider``, which follows models pulled or removed while it runs.

    A draft model drafts for the default model only, since others may have another vocabulary.
    """

    def __init__(self, ctx: CommandContext) -> None:
        """Raises what finding and checking the models raises, if there is a draft model."""
        self._ctx = ctx
        self._files: Mapping[str, str] = {}  # paths by the names that clients use for them
        self._labelled_with: set[tuple[str, str]] = set()  # models, with the types of their weights
        self._drafted: ModelFile | None = None
        if ctx.runtime.wants_draft:
            self._drafted = ctx.runtime.add_draft(ctx.runtime.resolve_model())

    def _library(self) -> ModelLibrary:
        from llmcli.models.library.model_library import ModelLibrary

        ctx = self._ctx
        return ModelLibrary(ctx.runtime.settings, ctx.runtime.paths, ctx.runtime.environ, verb=ctx.verb)

    def list_models(self) -> list[ListedModel]:
        """Return the models that ``ServedNames`` finds, by the names that clients use."""
        from llmcli.models.library.served_names import ServedNames
        from llmcli.serve.worker_router import ListedModel

        library = self._library()
        names = ServedNames(library)
        self._files = names.files
        served = {self._served_name(library, model): model for model in names.models}
        return [ListedModel(name, int(model.path.stat().st_mtime)) for name, model in sorted(served.items())]

    def launcher_for(self, name: str | None, *, labels: bool = False) -> WorkerLauncher:
        """Return the launcher of a model's worker; a path named by a client is not accepted.

        The adapters of the settings belong to the default model. ``labels``: on the weights that label here, which are
        kept as by a command.

        Raises as ``ModelLibrary.ensure_verified`` and ``worker_launcher`` do.
        """
        from llmcli.runtime.backend_factory import worker_launcher

        library, key = self._library(), self._files.get(name or "", name)
        if key is not None and key == name and is_path(key):
            raise MissingError(key, kind="model")
        model = library.ensure_verified(key, self._ctx.runtime.interrupt)
        if self._ctx.runtime.settings["lora"] and _is_default(model, library):
            model = self._ctx.runtime.add_adapters(model, registry=library.registry)
        if self._drafted is not None and model.path == self._drafted.path:
            model = replace(model, draft=self._drafted.draft)
        config = self._ctx.runtime.config
        launcher = worker_launcher(config, library, model, LABELS if labels else SERVER)
        if labels:
            self._note_labels(model, launcher.config.weights)
        launcher.served_name = self._served_name(library, model)
        return launcher

    def _note_labels(self, model: ModelFile, weights: str) -> None:
        """Keep the weights that label, and say once if earlier labels came from others, or from another engine."""
        if (model.name, weights) not in self._labelled_with:
            self._labelled_with.add((model.name, weights))
            model_weights.note_weights(self._ctx.runtime.config, model, weights)
            model_weights.note_engine(self._ctx.runtime.config, model)

    def batch_options(self, name: str | None) -> list[str]:
        """Return the options of ``llm run-batch`` that choose the model and the weights of requests for ``name``.

        Raises as ``launcher_for``.
        """
        launcher = self.launcher_for(name)
        adapters = self._ctx.runtime.settings["lora"] if launcher.config.adapters else ("none",)
        return [
            *("-m", launcher.config.name, "--set", f"weights={launcher.config.weights}"),
            *(word for each in adapters for word in ("--lora", each)),
            *(word for each in (launcher.served_name, name) if each for word in ("--served-model-name", each)),
        ]

    def _served_name(self, library: ModelLibrary, model: ModelFile) -> str:
        from llmcli.models.library.served_names import name_for_clients

        return name_for_clients(library, model, self._files)


def _is_default(model: ModelFile, library: ModelLibrary) -> bool:
    with contextlib.suppress(MissingError, ModelNotDownloaded, BadModelFile):
        return library.find().path == model.path
    return False
