import subprocess
import sys

import pytest

from llmcli.errors import UsageError
from llmcli.tasks.languages import Language, is_code, language_names, parse_language


@pytest.mark.parametrize("text", ["fr", "FR", "French", "french", "Français", "FRANCAIS", " fr "])
def test_codes_and_names(text):
    """A language is found by its code, its English name and its own name, ignoring case and accents."""
    assert parse_language(text) == Language("fr", "French")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("fr", True), ("pt-BR", True), ("zh-Hant", True), ("es-AR", True), ("az-Cyrl-AZ", True), ("pt-br", False),
     ("FR", False), ("md", False), ("French", False), ("fr-", False), ("", False), ("xx-BR", False)],
)  # fmt: skip
def test_codes_in_names(text, is_one):
    """The allowed forms of ``Language.code``."""
    assert is_code(text) is is_one


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("pt-BR", "pt-BR", "Brazilian Portuguese"),
        ("pt_br", "pt-BR", "Brazilian Portuguese"),
        ("zh-TW", "zh-Hant", "Traditional Chinese"),
        ("日本語", "ja", "Japanese"),
        ("es-AR", "es-AR", "Spanish (AR)"),
        ("az-Cyrl-AZ", "az-Cyrl-AZ", "Azerbaijani (Cyrl, AZ)"),
    ],
)
def test_regions_and_scripts(text, code, name):
    """Known variants have names; any known language takes a region and a script."""
    assert parse_language(text) == Language(code, name)


@pytest.mark.parametrize(("text", "near"), [("Frensh", "French"), ("Portugese", "Portuguese"), ("Germn", "German")])
def test_typing_errors_get_suggestions(text, near):
    """A misspelt name is refused with the right one."""
    with pytest.raises(UsageError, match=near):
        parse_language(text)


@pytest.mark.parametrize("text", ["", "xx", "xx-YY", "fr-", "fr-FRANCE", "Q"])
def test_unknown_languages(text):
    """An unknown language is refused with what was expected."""
    with pytest.raises(UsageError, match="unknown language"):
        parse_language(text)


def test_every_code_and_name_is_found():
    """Each listed language is found by its code and by its name, so none hides another."""
    names = language_names()
    assert len(names) > 100
    for code, name in names:
        assert parse_language(code) == parse_language(name) == Language(code, name)


def test_completion_is_cheap():
    """The list of languages needs no templates, YAML or backend."""
    code = "import sys; from llmcli.tasks.languages import language_names; language_names(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"llmcli.prompts", "llmcli.backends", "llmcli.documents", "yaml", "jinja2"} & set(modules)
