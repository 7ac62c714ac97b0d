"""XLIFF 1.2 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.xml_files.xliff import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument
from llmcli.tasks.translate.masking import mask_spans

REAL = Path(__file__).parents[2] / "real"
ANGULAR = (REAL / "messages.xlf").read_text(encoding="utf-8")
SECOND = (REAL / "units.xliff").read_text(encoding="utf-8")
FILE = '<xliff version="1.2"><file original="a" source-language="en"{}><body>{}</body></file></xliff>'
UNIT = '<trans-unit id="a"><source>One word</source>{}</trans-unit>'


def put(text, *translations, target="fr"):
    segments = FORMAT.split(text, target)
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def test_the_units_of_angular():
    """Sources are segments with their notes; inline tags and escaped tags are protected; finished targets stay."""
    segments = FORMAT.split(ANGULAR, "fr")
    assert [(s.path, s.text, s.note, s.existing_translation) for s in segments] == [
        (
            ("introductionHeader",),
            'Hello <x id="START_BOLD" ctype="x-b"/>{$PH} i18n<x id="CLOSE_BOLD" ctype="x-b"/> & <b>you</b>!',
            "An introduction header\nUser welcome",
            None,
        ),
        (("b",), "Two", "", None),
        (("d",), "Four", "", "Quatre"),
        (
            ("e",),
            '{VAR, plural, =0 {just now} other {<x id="I" equiv-text="{{minutes}}"/> minutes}}',
            "",
            None,
        ),
    ]


def test_a_target_is_written_beside_its_source():
    """In the layout of the source, with a state that asks for a review; the file declares the language."""
    done = put(ANGULAR, 'A <x id="START_BOLD" ctype="x-b"/>{$PH}<x id="CLOSE_BOLD" ctype="x-b"/> < <b>v</b>', "Deux")
    assert 'original="ng2.template" target-language="fr">' in done
    assert (
        '</source>\n        <target state="needs-review-translation">A <x id="START_BOLD" ctype="x-b"/>{$PH}'
        '<x id="CLOSE_BOLD" ctype="x-b"/> &lt; &lt;b&gt;v&lt;/b&gt;</target>\n        <note' in done
    )
    assert '<target xml:lang="fr" state="needs-review-translation">Deux</target>' in done
    assert [s.existing_translation for s in FORMAT.split(done, "fr")][1] == "Deux"


def test_the_segments_of_version_2():
    """Each segment of a unit is one, with the groups above it and its notes; the state is the segment's."""
    segments = FORMAT.split(SECOND, "fr")
    assert [(s.path, s.note, s.existing_translation) for s in segments] == [
        (("Menu", "tu1"), "src/menu.ts:12", None),
        (("Menu", "tu1"), "src/menu.ts:12", None),
        (("Menu", "tu3"), "", "Fermer"),
    ]
    done = put(SECOND, segments[0].text.replace("bird", "oiseau"), segments[1].text)
    assert '<segment id="s1" state="translated">' in done and '<segment id="s2" state="translated">' in done
    assert '<pc id="2">oiseau</pc></pc>, <ph id="3" equiv="NAME" disp="{{name}}"/>.</target>' in done
    assert '<target>It has <sc id="4"/>long<ec startRef="4"/> feathers.</target>' in done


@pytest.mark.parametrize(
    ("target", "is_translated"),
    [("", True), ("<target/>", True), ("<target> </target>", True), ('<target state="new">One</target>', True),
     ('<target state="needs-translation">One</target>', True), ("<target>Un</target>", False),
     ('<target state="needs-review-translation">Un</target>', False), ('<target state="final">Un</target>', False)],
)  # fmt: skip
def test_the_state_decides(target, is_translated):
    """What has no target, or one that asks for it, is translated."""
    (segment,) = FORMAT.split(FILE.format("", UNIT.format(target)), "fr")
    assert (segment.existing_translation is None) is is_translated


@pytest.mark.parametrize(("declared", "expected"), [("fr-FR", "fr-FR"), ("de", "fr"), ("", "fr")])
def test_the_target_language(declared, expected):
    """A variant of it stays; targets in another language are translated anew, as in PO files."""
    text = FILE.format(f' target-language="{declared}"' if declared else "", UNIT.format("<target>Ein Wort</target>"))
    (segment,) = FORMAT.split(text, "fr")
    assert (segment.existing_translation is None) is (declared == "de")
    assert f'target-language="{expected}"' in join_segments(text, [segment], ["Un mot"])


def test_the_source_language_is_declared():
    """Both versions require it."""
    first = FILE.replace(' source-language="en"', "").format("", UNIT.format(""))
    assert '<file original="a" source-language="en">' in FORMAT.replace_language(first, [], "en", "fr")
    second = SECOND.replace(' srcLang="en-US"', "")
    assert ' trgLang="fr" srcLang="en">' in FORMAT.replace_language(second, [], "en", "fr")
    assert FORMAT.replace_language(SECOND, [], "en", "fr") == SECOND


def test_what_is_not_translated():
    """translate="no" on a unit or around it, and the code in inline elements."""
    inner = '<group translate="no"><trans-unit id="a"><source>No</source></trans-unit></group>'
    inner += (
        '<trans-unit id="b"><source>Go <bpt id="1">&lt;b x="</bpt>on<ept id="1">&lt;/b></ept></source></trans-unit>'
    )
    (segment,) = FORMAT.split(FILE.format("", inner), "fr")
    assert [segment.text[s.start : s.end] for s in segment.protected] == [
        '<bpt id="1">&lt;b x="</bpt>', '<ept id="1">&lt;/b></ept>',
    ]  # fmt: skip


def test_a_beginning_stays_before_its_end():
    """Elements such as bpt and ept are pairs by their ids; pairs do not overlap partially."""
    text = '<bpt id="1" rid="7">{</bpt> a <sc id="2"/> b <ec startRef="2"/> c <ept id="3" rid="7">}</ept> d'
    unit = f'<trans-unit id="a"><source>{text}</source></trans-unit>'
    (segment,) = FORMAT.split(FILE.format("", unit), "fr")
    masked = mask_spans(segment.text, segment.protected)
    assert masked.groups == ((2, 3), (1, 4))
    assert masked.find_problem(masked.text, "[#4] a [#2] b [#3] c [#1]")
    assert not masked.find_problem(masked.text, "[#2] b [#3] c [#1] a [#4]")


def test_segmented_sources():
    """The segments of seg-source are the marks of the target."""
    unit = (
        '<trans-unit id="a"><source>A b. C d.</source><seg-source><mrk mid="0" mtype="seg">A b.</mrk> '
        '<mrk mid="1" mtype="seg">C d.</mrk></seg-source><alt-trans><target>no</target></alt-trans></trans-unit>'
    )
    text = FILE.format("", unit)
    (segment,) = FORMAT.split(text, "fr")
    done = put(text, segment.text.replace("A b", "X"))
    assert '</seg-source><target state="needs-review-translation"><mrk mid="0" mtype="seg">X.</mrk> <mrk' in done


def test_an_earlier_translation_is_merged():
    """By unit and source: a changed source loses its target; the same units leave the earlier file as it is."""
    earlier = FILE.format(' target-language="fr"', UNIT.format('<target state="final">Un mot</target>'))
    text = FILE.format("", UNIT.format("") + '<trans-unit id="b"><source>Two</source></trans-unit>')
    merged = FORMAT.merge_earlier(earlier, text)
    assert [s.existing_translation for s in FORMAT.split(merged, "fr")] == ["Un mot", None]
    assert FORMAT.merge_earlier(earlier, text.replace("One", "A")) == text.replace("One", "A")
    assert FORMAT.merge_earlier(earlier, FILE.format("", UNIT.format(""))) == earlier
    second = SECOND.replace("<source>Close</source><target>Fermer</target>", "<source>Close</source>").replace(
        "tu2", "tu9"
    )
    assert "<source>Close</source><target>Fermer</target>" in FORMAT.merge_earlier(SECOND, second)


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [("<xliff>\n<file></xliff>", 2, "mismatched tag"), ("<html/>", 1, "the root element is <html>, not <xliff>"),
     ("hello", 1, "syntax error"), ("<xliff>\n&x;</xliff>", 2, "undefined entity"), ("<xliff>" + "\n<a>" * 300 + "</a>" * 300 + "</xliff>", 201, "nested deeper than 200 levels"),
     ('<!DOCTYPE a [<!ENTITY a "b">\n<!ENTITY c "&a;&a;">]><xliff/>', 2, "it defines an entity by other entities")],
)  # fmt: skip
def test_bad_xml_is_refused(text, line, detail):
    """What expat refuses, another root, depth without end, and entities that grow."""
    with pytest.raises(BadDocument) as refused:
        FORMAT.split(text, "fr")
    assert (refused.value.line, refused.value.detail) == (line, detail)
    assert FORMAT.check(text) == f"line {line}: {detail}"
