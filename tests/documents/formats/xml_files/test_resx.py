"""Resources of .NET."""

from __future__ import annotations

from pathlib import Path

from llmcli.documents.formats.xml_files.resx import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "Strings.resx").read_text(encoding="utf-8")


def test_the_strings_of_a_program():
    """Values of strings with their comments; no sizes, files and names of controls."""
    segments = FORMAT.split(REAL, "de")
    assert [(s.path, s.text, s.note) for s in segments] == [
        (("Greeting",), "Hello, {0}! You have {1:N0} messages & more.", "{0} is a name"),
        (("Two.Lines",), "First line\nSecond line", ""),
        (("$this.Text",), "Main window", ""),
    ]
    assert [segments[0].text[s.start : s.end] for s in segments[0].protected] == ["{0}", "{1:N0}"]
    done = join_segments(REAL, segments, ["{0} < {1:N0}", "a\nb", None])
    assert "<value>{0} &lt; {1:N0}</value>" in done and "<value>a\nb</value>" in done
