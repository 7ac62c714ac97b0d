"""Aliases and defaults: which choice overrides which."""

from __future__ import annotations

import pytest

from llmcli.errors import ConfigError, MissingError, UsageError
from llmcli.models.library.registry import ModelRegistry
from llmcli.models.library.resolver import ALIAS_ORIGIN, DEFAULT_ORIGIN, STARTER_MODEL, ModelAlias, ModelDefaults
from llmcli.settings import Setting, Settings


@pytest.fixture
def choices(tmp_path):
    """Return a function from a verb and settings to defaults that share one registry."""

    def make(verb="", model=None, **aliases):
        given = {"model": Setting(model, "LLMCLI_MODEL"), "aliases": Setting(aliases, "LLMCLI_ALIASES")}
        return ModelDefaults(Settings(given), ModelRegistry(tmp_path / "models.json"), verb)

    return make


# ---- defaults --------------------------------------------------------------------------------------------------------


def test_built_in(choices):
    """Without a choice it is the starter, and nothing is stored."""
    assert choices("ask").default_model() == (STARTER_MODEL, "built in")
    assert choices("ask").stored_default() is None and choices().defaults_by_verb() == {}


def test_a_verbs_default_overrides_the_general_one(choices):
    """The default stored for the running verb overrides the one stored for all; other verbs are not affected."""
    choices().store_default("large", "translate")
    choices().store_default("usual")
    assert choices("translate").default_model() == ("large", f"{DEFAULT_ORIGIN} --for translate")
    assert choices("ask").default_model() == choices().default_model() == ("usual", DEFAULT_ORIGIN)
    assert choices("ask").default_model("translate") == ("large", f"{DEFAULT_ORIGIN} --for translate")
    assert choices().defaults_by_verb() == {"translate": "large"}


def test_the_setting_overrides_a_verbs_default(choices):
    """A setting, also -m, applies to every verb."""
    choices().store_default("large", "translate")
    assert choices("translate", model="set").default_model() == ("set", "LLMCLI_MODEL")


def test_a_default_without_effect_is_refused(choices):
    """If the setting decides, storing is 78 and stores nothing; removing is allowed."""
    choices().store_default("first")
    with pytest.raises(ConfigError) as caught:
        choices(model="set").store_default("second")
    assert caught.value.origin == "LLMCLI_MODEL" and "set" in caught.value.detail
    assert choices().default_model()[0] == "first"
    choices(model="set").store_default(None)
    assert choices().default_model()[0] == STARTER_MODEL


@pytest.mark.parametrize("verb", ["", "translate"])
def test_removing_a_default(choices, verb):
    """Only the named one is removed; one that was never stored may be removed too."""
    choices().store_default("usual")
    choices().store_default("large", "translate")
    choices().store_default(None, verb)
    choices().store_default(None, "ask")
    left = {"": ("large", None), "translate": ("usual", "usual")}[verb]
    assert (choices("translate").default_model()[0], choices("ask").stored_default()) == left


# ---- aliases ---------------------------------------------------------------------------------------------------------


def test_an_alias_is_followed(choices):
    """A name resolves to its model; other names to themselves."""
    choices().store_alias("small", "owner/repo:Q4_0")
    assert choices().resolve_alias("small") == "owner/repo:Q4_0" and choices().resolve_alias("other") == "other"
    assert choices().get_alias("small") == ModelAlias("small", "owner/repo:Q4_0", ALIAS_ORIGIN)


def test_the_settings_alias_overrides_a_stored_one(choices):
    """The list shows the origin of each, sorted; the settings take precedence and cannot be changed from here."""
    choices().store_alias("b", "stored")
    choices().store_alias("c", "stored")
    ours = choices(b="given", a="given")
    assert [(each.name, each.model, each.origin) for each in ours.aliases()] == [
        ("a", "given", "LLMCLI_ALIASES"),
        ("b", "given", "LLMCLI_ALIASES"),
        ("c", "stored", ALIAS_ORIGIN),
    ]
    assert ours.resolve_alias("b") == "given"
    with pytest.raises(ConfigError):
        ours.store_alias("b", "other")
    with pytest.raises(ConfigError):
        ours.remove_alias("a")


def test_an_alias_of_the_settings_leads_to_a_stored_one(choices):
    """One step of each kind, so that there are no cycles."""
    choices().store_alias("b", "model")
    assert choices(a="b").resolve_alias("a") == "model"


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a..b", "-a", "a b", "x.gguf", STARTER_MODEL, "a:b", "a\n"])
def test_what_cannot_be_an_alias(choices, name):
    """Paths, names on the Hub, names of the catalogue, and invisible characters."""
    with pytest.raises(UsageError):
        choices().store_alias(name, "model")
    assert choices().aliases() == []


def test_removing_an_alias(choices):
    """A removed alias is unknown afterwards; a misspelt name has suggestions."""
    choices().store_alias("small", "model")
    with pytest.raises(MissingError) as caught:
        choices().remove_alias("smal")
    assert (caught.value.kind, caught.value.suggestions) == ("alias", ("small",))
    choices().remove_alias("small")
    with pytest.raises(MissingError):
        choices().get_alias("small")
