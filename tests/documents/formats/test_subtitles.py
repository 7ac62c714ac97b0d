from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.subtitles import SRT, VTT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = Path(__file__).parents[1] / "real"
FILM = (REAL / "film.srt").read_bytes().decode()
CAPTIONS = (REAL / "film.vtt").read_bytes().decode()


def test_cues_of_subrip():
    """A cue is a segment with its lines; tags are protected; timings, numbers and cues without words do not change."""
    segments = SRT.split(FILM, "de")
    assert [s.text for s in segments] == ["<i>Where have you been?</i>\n- Nowhere.", "A line with 5 km & more."]
    assert [[s.text[p.start : p.end] for p in s.protected] for s in segments] == [["<i>", "</i>"], []]
    assert {s.max_width for s in segments} == {42}


def test_cues_of_webvtt():
    """Notes, styles, settings and identifiers stay; speakers and times in a cue are protected, entities decoded."""
    segments = VTT.split(CAPTIONS, "de")
    assert [s.text for s in segments] == [
        "<v Roger>Where & when?</v>\n<c.loud>Now!</c>", "- One\n- Two <00:00:04.500>three",
    ]  # fmt: skip
    joined = join_segments(CAPTIONS, segments, ["<v Roger>A < b & --> c</v>\n\n<c.loud>d</c>", None])
    assert "<v Roger>A &lt; b &amp; --&gt; c</v>\n<c.loud>d</c>\n\n00:00:04" in joined
    assert VTT.check(joined) == ""


def test_a_translation_cannot_end_its_cue():
    """Empty lines and arrows in a translation are removed; line ends are those of the file."""
    segments = SRT.split(FILM, "de")
    joined = join_segments(FILM, segments, [None, "a\n\n4\n00:00:01,000 --> 00:00:02,000\nb <i>c"])
    assert joined.endswith("a\r\n4\r\n00.00.01,000 \u2192 00.00.02,000\r\nb \u2039i>c\r\n")
    assert SRT.check(joined) == ""
    assert len(SRT.split(joined, "de")) == 2


def test_long_lines_are_broken():
    """A line that is too long is broken into lines of similar length; tags do not count."""
    segments = SRT.split(FILM, "de")
    lines = segments[1].encode("Ein sehr langer Satz, der auf gar keinen Fall in eine Zeile passt.").split("\r\n")
    assert len(lines) == 2
    assert all(len(line) <= 42 for line in lines)


def test_longer_lines_of_the_source_set_the_width():
    """A file with longer lines than usual may keep them."""
    text = "1\n00:00:01,000 --> 00:00:02,000\n" + "word " * 12 + "\n"
    assert SRT.split(text, "de")[0].max_width == 59


def test_text_after_an_empty_line_belongs_to_its_cue():
    """SubRip files often have empty lines inside cues; all of the text is found, and numbers are not text."""
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n\ntwo\n\n2\n00:00:03,000 --> 00:00:04,000\nthree\n"
    assert [s.text for s in SRT.split(text, "de")] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("form", "text", "line"),
    [(SRT, "words", 1), (SRT, "1\n00:00:01,000 -> x\n00:01 --> 2\n", 3), (VTT, "1\n00:01.000 --> 00:02.000\n", 1),
     (VTT, "WEBVTT\n\n00:01.000 --> later\na\n", 3)],
)  # fmt: skip
def test_broken_files_are_refused(form, text, line):
    """A file without timings or with broken ones is refused with the line."""
    with pytest.raises(BadDocument) as refused:
        form.split(text, "de")
    assert refused.value.line == line
    assert form.check(text).startswith(f"line {line}: ")
