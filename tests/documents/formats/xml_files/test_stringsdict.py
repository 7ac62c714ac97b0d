"""Apple's .stringsdict."""

from __future__ import annotations

import plistlib
from pathlib import Path

from llmcli.documents.formats.xml_files.stringsdict import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "Localizable.stringsdict").read_text(encoding="utf-8")


def test_plural_forms_are_added():
    """Before "other", with the layout of the file; the rule's own strings are no words."""
    segments = FORMAT.split(REAL, "pl")
    assert [(s.path[-1], s.text) for s in segments] == [
        ("NSStringLocalizedFormatKey", '%#@files@ in "%2$@"'), ("zero", "No files"), ("one", "%lu file"), ("few", "%lu files"),
        ("many", "%lu files"), ("other", "%lu files"), ("mac", "Click & hold"),
    ]  # fmt: skip
    done = join_segments(
        REAL, segments, [s.text.upper().replace("%LU", "%lu").replace("FILES@", "files@") for s in segments]
    )
    files = plistlib.loads(done.encode())["files in folder"]["files"]
    assert list(files)[2:] == ["zero", "one", "few", "many", "other"]
    assert (files["few"], files["NSStringFormatValueTypeKey"]) == ("%lu FILES", "lu")
    assert "\t\t\t<key>few</key>\n\t\t\t<string>%lu FILES</string>\n\t\t\t<key>many</key>\n" in done


def test_forms_that_the_language_lacks_are_removed():
    """With their lines; the form for zero stays."""
    done = join_segments(REAL, FORMAT.split(REAL, "ja"), [None, "x", "%lu y", None])
    assert list(plistlib.loads(done.encode())["files in folder"]["files"])[2:] == ["zero", "other"]
    assert "<string>x</string>\n\t\t\t<key>other</key>\n\t\t\t<string>%lu y</string>" in done
