"""The user's aliases and default models, from the settings and from what commands stored."""

from __future__ import annotations

from collections.abc import Callable

from llmcli.errors import ConfigError, MissingError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.models.files import names
from llmcli.models.library.registry import ModelRegistry
from llmcli.settings import Settings

STARTER_MODEL = "smollm2-135m"
"""The catalogue's model that is the default until the user chooses one."""
BUILT_IN_ORIGIN = "built in"
"""The origin of the default that applies until the user chooses one."""
DEFAULT_ORIGIN = "llm models default"
"""The origin of a default that a command stored; for a verb's default, ``--for VERB`` follows."""
ALIAS_ORIGIN = "llm models alias"
"""The origin of an alias that a command stored."""


@frozen
class ModelAlias:
    """Another name for ``model``; ``origin`` is a variable, the configuration file, or the command that stored it."""

    name: str
    model: str
    origin: str


class ModelDefaults:
    """The aliases and defaults of ``settings`` (taking precedence) and ``registry``; ``verb``: the running command."""

    def __init__(
        self, settings: Settings, registry: ModelRegistry, verb: str = "", warn: Callable[[str], None] = lambda _: None
    ) -> None:
        """``warn`` is called once if the stored ones are lost."""
        self._settings = settings
        self._registry = registry
        self._verb = verb
        self._warn: Callable[[str], None] | None = warn

    def _stored_names(self, section: str) -> dict[str, str]:
        """Return the defaults or aliases that commands stored."""
        stored = self._registry.sections[section]
        if self._registry.was_damaged and self._warn is not None:
            warn, self._warn = self._warn, None
            path, aside = self._registry.path, self._registry.broken_path
            warn(f"{path} is damaged, so its aliases and defaults are lost; the next change renames it to {aside}")
        return stored

    # ---- defaults -------------------------------------------------------------------------------------------------

    def default_model(self, verb: str | None = None) -> tuple[str, str]:
        """Return the model that is used when none is named, and the origin of that choice.

        The setting takes precedence, then the default stored for the verb (None: the running one), then the one stored
        for all verbs, then the starter.
        """
        if self._settings["model"]:
            return self._settings["model"], self._settings.origin("model")
        stored = self._stored_names("defaults")
        for use in dict.fromkeys((self._verb if verb is None else verb, "")):
            if stored.get(use):
                return stored[use], f"{DEFAULT_ORIGIN} --for {use}" if use else DEFAULT_ORIGIN
        return STARTER_MODEL, BUILT_IN_ORIGIN

    def is_chosen(self) -> bool:
        """Return whether the user chose the default of the running verb, by a setting or a command."""
        return self.default_model()[1] != BUILT_IN_ORIGIN

    def stored_default(self) -> str | None:
        """Return the default stored for the running verb, or for all verbs; None if there is neither."""
        stored = self._registry.sections["defaults"]
        return stored.get(self._verb) or stored.get("")

    def defaults_by_verb(self) -> dict[str, str]:
        """Return the defaults stored for single verbs."""
        return {verb: name for verb, name in sorted(self._registry.sections["defaults"].items()) if verb}

    def store_default(self, name: str | None, verb: str = "") -> None:
        """Store ``name`` for ``verb`` ("": for all), or remove the stored one (None).

        Raises ``ConfigError`` if the setting overrides it, so that it would have no effect, and ``OutputError``.
        """
        if name is not None and self._settings["model"]:
            detail = f"it is {self._settings['model']}, which overrides the default; change it there"
            raise ConfigError("model", origin=self._settings.origin("model"), detail=detail)

        def change(data: dict[str, dict[str, str]]) -> None:
            data["defaults"].pop(verb, None)
            if name is not None:
                data["defaults"][verb] = name

        self._registry.update(change)

    # ---- aliases --------------------------------------------------------------------------------------------------

    def resolve_alias(self, name: str) -> str:
        """Return the model that ``name`` means: an alias of the settings is replaced, then a stored one."""
        name = self._settings["aliases"].get(name, name)
        return str(self._stored_names("aliases").get(name, name))

    def aliases(self) -> list[ModelAlias]:
        """Return all aliases, sorted by name."""
        stored = {name: ModelAlias(name, model, ALIAS_ORIGIN) for name, model in self._stored_names("aliases").items()}
        origin = self._settings.origin("aliases")
        given = {name: ModelAlias(name, model, origin) for name, model in self._settings["aliases"].items()}
        return [alias for _, alias in sorted({**stored, **given}.items())]

    def get_alias(self, name: str) -> ModelAlias:
        """Return the alias called ``name``. Raises ``MissingError`` (kind "alias")."""
        known = {alias.name: alias for alias in self.aliases()}
        if name not in known:
            import difflib

            raise MissingError(name, kind="alias", suggestions=difflib.get_close_matches(name, known))
        return known[name]

    def store_alias(self, name: str, model: str) -> None:
        """Store ``name`` as an alias of ``model``, a known name.

        Raises ``UsageError`` for an invalid name, ``ConfigError`` if the settings define the alias, and
        ``OutputError``.
        """
        check_new_name(name, "an alias")
        self._refuse_configured_alias(name)
        self._registry.update(lambda data: data["aliases"].update({name: model}))

    def remove_alias(self, name: str) -> None:
        """Remove an alias. Raises ``MissingError``, ``ConfigError`` for an alias of the settings, ``OutputError``."""
        self.get_alias(name)
        if name not in self._registry.sections["aliases"]:
            self._refuse_configured_alias(name)
        self._registry.update(lambda data: data["aliases"].pop(name, None) and None)

    def _refuse_configured_alias(self, name: str) -> None:
        given = self._settings["aliases"]
        if name in given:
            detail = f"it defines {name} as {given[name]}, which overrides this command; change it there"
            raise ConfigError("aliases", origin=self._settings.origin("aliases"), detail=detail)


def check_new_name(name: str, what: str) -> None:
    """Refuse an invalid name for an alias or an import; ``what`` is "an alias" or similar. Raises ``UsageError``."""
    from llmcli.models.catalogue import catalogue_names

    if len(name) > names.MAX_NAME_CHARS:
        raise UsageError(
            f"{name[:20]}... cannot be {what}: it has {len(name)} characters",
            detail=f"Use at most {names.MAX_NAME_CHARS}.",
        )
    if not (name[:1].isalnum() and name[-1:].isalnum()):
        raise UsageError(f"{name!r} cannot be {what}", detail="Begin and end it with a letter or a digit.")
    if not names.is_valid_name(name):
        raise UsageError(f"{name!r} cannot be {what}", detail='Use letters, digits, "-", "_" and ".", without "..".')
    if name.lower().endswith(".gguf"):
        raise UsageError(f"{name} cannot be {what}: it looks like a file", detail="Omit .gguf.")
    if name in catalogue_names():
        raise UsageError(f"{name} cannot be {what}: llm knows a model with that name", detail="Choose another name.")
