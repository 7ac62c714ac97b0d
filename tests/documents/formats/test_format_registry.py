import pytest

from llmcli.documents.format_registry import find_format, format_names, listed_suffixes, load_format
from llmcli.errors import UsageError


@pytest.mark.parametrize(
    ("name", "format_name"),
    [("a.md", "markdown"), ("A.MARKDOWN", "markdown"), ("d/a.htm", "html"), ("a.pot", "po"), ("app_en.arb", "json"),
     ("en.yml", "yaml"), ("a.txt", "plain"), ("a.srt", "srt"), ("a.vtt", "vtt"), ("m.properties", "properties"),
     ("a.xlf", "xliff"), ("a.resw", "resx"), ("en/app.ftl", "fluent"), ("docs/a.rst", "rst"), ("res/values/strings.xml", "android"), ("Localizable.strings", "strings"),
     ("a.stringsdict", "stringsdict"), ("a.xcstrings", "xcstrings"), ("a.ipynb", "notebook"), ("a.adoc", "asciidoc"), ("a.asciidoc", "asciidoc"), ("a.asc", "asciidoc"), ("a.tex", "latex"), ("a.ltx", "latex")],
)  # fmt: skip
def test_the_suffix_decides_the_format(name, format_name):
    """The suffix decides, in either case, before the content."""
    assert find_format(name, "WEBVTT\n").name == format_name


@pytest.mark.parametrize(
    ("text", "format_name"),
    [("# Title\n\nText", "markdown"), ("---\ntitle: x\n---\nText", "markdown"), ("WEBVTT\n\n", "vtt"),
     ("1\n00:00:01,000 --> 00:00:02,000\nHi\n", "srt"), ('# x\nmsgid "a"\nmsgstr ""\n', "po"), ('{"a": "b"}', "json"),
     ("<!DOCTYPE html><p>a", "html"), ("en:\n  a: b\n", "yaml"), ("a.b = c\n", "properties"), ("<?xml version='1.0'?><!-- a -->\n<x:xliff>", "xliff"), ("<resources>", "android"), ("# a\nb-c = d\ne = { $f }\n", "fluent"), ("a = b\n", "plain"), ("<root>\n<!-- a -->\n<xsd:schema", "resx"), ("<!DOCTYPE TS>\n<TS>", "qt"), ("Title\n=====\n\n.. note:: a\n", "rst"),
     ('/* a */\n"b" = "c";', "strings"), ("<!DOCTYPE plist PUBLIC 'a'>\n<plist>", "stringsdict"), ('{\n "sourceLanguage" : "en"', "xcstrings"), ("a|b\n-|-\n", "plain"),
     ("// a\n:toc:\n\n= Title\n\nWords.\n", "asciidoc"), ("Words.\n\n[source,ruby]\n----\na\n", "asciidoc"),
     ("% a\n\\documentclass{article}\n", "latex"), ("\\section{A}\nWords\n", "latex"),
     ('{\n "cells": [\n  {\n   "cell_type": "markdown"', "notebook"), ('{"metadata": {}, "nbformat": 4', "notebook"), ('{"cells": [{"name": "a"}]}', "json"),
     ("a | b\n--- | ---\n", "markdown"), ("Dear all,\n\nwords.", "plain"), ("", "plain"), ("x #1 - y", "plain")],
)  # fmt: skip
def test_the_content_decides_without_a_suffix(text, format_name):
    """Standard input and names without a known suffix are detected by their content."""
    assert find_format("-", text).name == format_name
    assert find_format("notes.xyz", "\ufeff" + text).name == format_name


def test_a_named_format_overrides():
    """The user's choice decides, also by another name of the format."""
    assert find_format("a.md", "", "plain").name == "plain"
    assert find_format("a.md", "", "YML").name == "yaml"


def test_an_unknown_format_gets_a_suggestion():
    """An unknown name is refused with a similar one."""
    with pytest.raises(UsageError) as refused:
        find_format("a", "", "markdwon")
    assert "markdown" in refused.value.detail


def test_the_files_of_a_directory_have_these_suffixes():
    """Logs and files without a meaning of their own are not picked up from a directory."""
    assert set(listed_suffixes()) == {
        ".resx", ".resw", ".ftl", ".ipynb", ".asciidoc", ".adoc", ".tex", ".ltx", ".txt", ".rst", ".rest", ".markdown", ".md", ".mkd", ".mdown", ".mdx", ".qmd", ".rmd", ".html", ".htm", ".xhtml", ".srt",
        ".vtt", ".webvtt", ".po", ".pot", ".gettext", ".json", ".arb", ".yaml", ".yml", ".properties", ".props",
        ".xliff", ".xlf", "strings.xml", "arrays.xml", "plurals.xml", ".strings", ".stringsdict", ".xcstrings",
            ".docx", ".docm", ".dotx", ".pptx", ".pptm", ".ppsx", ".xlsx", ".xlsm",
            ".odt", ".ott", ".odp", ".otp", ".ods", ".ots", ".epub",
    }  # fmt: skip


def test_registrations_match_their_modules():
    """A registration and its module agree on the name."""
    assert [load_format(name).name for name in format_names()] == list(format_names())
