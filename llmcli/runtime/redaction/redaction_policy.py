"""Decide whether private values are replaced for a server, and build the backend that replaces them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.backend_config import ServerConfig
from llmcli.settings import Settings

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.prompts import PromptLibrary
    from llmcli.redaction.redactor import NameFinder, Redactor


def choose_mode(settings: Settings, server: ServerConfig) -> tuple[str, str]:
    """Return "on", "off" or "names" for a server, and the origin of that choice.

    The flag and the environment override ``redact`` of the server, which overrides the setting. By default,
    values are replaced for hosts that are neither this machine nor trusted.
    """
    from llmcli.redaction.own_patterns import is_trusted

    mode, origin = settings["redact"], settings.origin("redact")
    if mode != "auto" and origin.startswith(("--", "LLMCLI_")):
        return mode, origin
    if server.redact is not None:
        return server.redact, f"{server.name}.redact"
    if mode != "auto":
        return mode, origin
    if server.is_loopback:
        return "off", "the server runs on this machine"
    if is_trusted(server.host, settings["trusted_hosts"]):
        return "off", f"trusted_hosts has {server.host}"
    return "on", "default for servers elsewhere"


def build_redactor(settings: Settings, find_names: NameFinder | None = None) -> Redactor:
    """Return the redactor for the settings."""
    from llmcli.redaction.redactor import Redactor

    return Redactor(
        settings["redact.kinds"],
        patterns=settings["redact.patterns"],
        words=settings["redact.words"],
        find_names=find_names,
    )


def build_redacting_backend(
    settings: Settings, prompts: PromptLibrary, backend: Backend, name_backend: Backend | None
) -> Backend:
    """Wrap ``backend`` so that it gets no private values; ``name_backend`` finds names of people, None leaves them."""
    from llmcli.backends.redacting_backend import RedactingBackend
    from llmcli.runtime.redaction.name_finder import LocalNameFinder

    find_names = None if name_backend is None else LocalNameFinder(name_backend, prompts)
    owned = () if name_backend is None else (name_backend,)
    return RedactingBackend(backend, build_redactor(settings, find_names), owned)


def name_model(settings: Settings, models: ModelLibrary) -> str | None:
    """Return the model that finds names, None for the default. -m is ignored: it names a model of the server."""
    if settings["redact.model"] is not None:
        return str(settings["redact.model"])
    if settings.origin("model").startswith("--"):
        from llmcli.models.library.defaults import STARTER_MODEL

        return models.defaults.stored_default() or STARTER_MODEL
    return None
