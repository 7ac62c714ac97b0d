"""The plural forms that languages need."""

from llmcli.documents.formats.message_files.plural_categories import plan_plural_forms, plural_categories


def test_the_categories_of_languages():
    """A variant counts as its language, unless it differs; unknown languages are as English."""
    assert list(plural_categories("pl")) == ["one", "few", "many", "other"]
    assert list(plural_categories("ar_EG")) == ["zero", "one", "two", "few", "many", "other"]
    assert list(plural_categories("ja")) == ["other"]
    assert (plural_categories("pt")["one"], plural_categories("pt-PT")["one"]) == ("0, 1", "1")
    assert plural_categories("xx") == plural_categories("en")


def test_forms_that_stay():
    """A form for zero, and one that no category of CLDR is (=0)."""
    assert [form.category for form in plan_plural_forms(["=0", "zero", "one", "other"], "ja")] == [
        "=0",
        "zero",
        "other",
    ]


def test_no_form_without_a_source():
    """A message without "other" gets no new forms."""
    assert [form.category for form in plan_plural_forms(["one"], "pl")] == ["one"]
