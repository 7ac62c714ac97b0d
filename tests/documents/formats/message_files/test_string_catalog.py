"""Apple's string catalogs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmcli.documents.formats.message_files.string_catalog import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = (Path(__file__).parents[2] / "real" / "Localizable.xcstrings").read_text(encoding="utf-8")


def translated(text, language, translations=str.upper):
    segments = FORMAT.split(text, language)
    return join_segments(
        text, segments, [segment.existing_translation or translations(segment.text) for segment in segments]
    )


def units(text, key, language):
    return json.loads(text)["strings"][key]["localizations"][language]


def test_a_language_is_added():
    """To each key that the program uses; the text is the source's, else the key; the order of Xcode stays."""
    segments = FORMAT.split(REAL, "es")
    assert [(s.path[0], s.text, s.note) for s in segments[:2]] == [
        ("%@ of %lld notes", "%@ of %lld notes", "A name, then a count"), ("Cancel", "Cancel", ""),
    ]  # fmt: skip
    done = translated(REAL, "es")
    assert units(done, "Cancel", "es") == {"stringUnit": {"state": "needs_review", "value": "CANCEL"}}
    assert list(json.loads(done)["strings"]["Cancel"]["localizations"]) == ["de", "es", "fr"]
    assert json.loads(done)["strings"]["Gone"] == {"extractionState": "stale"}
    assert (
        json.dumps(json.loads(done), indent=2, separators=(",", " : "), ensure_ascii=False).replace("{}", "{\n\n    }")
        + "\n"
        == done
    )


@pytest.mark.parametrize(("language", "existing"), [("de", "Abbrechen"), ("fr", None), ("en", "no segment")])
def test_the_state_decides(language, existing):
    """What is translated stays, what is new is translated, and nothing into its own language."""
    found = {s.path[0]: s.existing_translation for s in FORMAT.split(REAL, language)}
    assert found.get("Cancel", "no segment") == existing


def test_plural_forms():
    """Of the target language; if one fails, it keeps the text of the source as new."""
    segments = FORMAT.split(REAL, "pl")
    done = join_segments(REAL, segments, ["x" if s.path[-1] == "few" else None for s in segments])
    plural = units(done, "notes.count", "pl")["variations"]["plural"]
    assert {form: tuple(each["stringUnit"].values()) for form, each in plural.items()} == {
        "few": ("needs_review", "x"),
        "many": ("new", "%lld notes / 50%%"),
        "one": ("new", "%lld note"),
        "other": ("new", "%lld notes / 50%%"),
    }
    assert [s.existing_translation for s in FORMAT.split(done, "pl") if s.path[0] == "notes.count"] == [None] * 4
    assert list(units(translated(REAL, "ja"), "notes.count", "ja")["variations"]["plural"]) == ["other"]


def test_substitutions_keep_their_fields():
    """Numbers, formats, and texts without words are as in the source."""
    english = {
        "stringUnit": {"state": "translated", "value": "%#@n@ here"},
        "substitutions": {"n": {"argNum": 1, "formatSpecifier": "lld", "variations": {"plural": {
            "one": {"stringUnit": {"state": "translated", "value": "%arg"}}, "other": {"stringUnit": {"state": "translated", "value": "%arg items"}}}}}},
    }  # fmt: skip
    text = json.dumps({"sourceLanguage": "en", "strings": {"k": {"localizations": {"en": english}}}})
    segments = FORMAT.split(text, "de")
    assert [[s.text[span.start : span.end] for span in s.protected] for s in segments] == [["%#@n@"], ["%arg"]]
    german = units(join_segments(text, segments, ["%#@n@ hier", "%arg Dinge"]), "k", "de")
    assert german["substitutions"]["n"]["argNum"] == 1
    plural = german["substitutions"]["n"]["variations"]["plural"]
    assert [plural[form]["stringUnit"]["value"] for form in ("one", "other")] == ["%arg", "%arg Dinge"]


def test_an_earlier_catalog_is_merged():
    """Languages that the new one lacks, where key and source are the same; the same keys leave the earlier one."""
    earlier = translated(translated(REAL, "es"), "it")
    new = REAL.replace('"OK" : {', '"Fine" : {')
    merged = FORMAT.merge_earlier(earlier, new)
    assert units(merged, "%@ of %lld notes", "it") == units(earlier, "%@ of %lld notes", "it")
    assert sorted(json.loads(merged)["strings"]["Cancel"]["localizations"]) == ["de", "es", "fr", "it"]
    assert "localizations" not in json.loads(merged)["strings"]["Fine"]
    assert FORMAT.merge_earlier(earlier, REAL) == earlier


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [('{"strings": {\n"a" {}}}', 2, "unexpected {"), ("[]", 1, "no string catalog: it has no strings"), ('{"strings": []}', 1, "no string catalog: it has no strings"),
     ('{"strings": {"a": ' + '{"b":' * 5000 + "1" + "}" * 5002, 1, "nested too deeply")],
)  # fmt: skip
def test_broken_catalogs_are_refused(text, line, detail):
    """What is no JSON, no catalog, or nested without end."""
    with pytest.raises(BadDocument) as refused:
        FORMAT.split(text, "de")
    assert (refused.value.line, refused.value.detail) == (line, detail)
    assert FORMAT.check(text) == f"line {line}: {detail}"
