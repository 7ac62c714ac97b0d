"""JSON, YAML and .properties."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from row_table import all_rows

from llmcli.documents.format_registry import find_format
from llmcli.documents.formats.message_files import icu_messages, json_messages, po, properties, yaml_messages
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = Path(__file__).parents[2] / "real"
ARB = (REAL / "app.arb").read_text(encoding="utf-8")
RAILS = (REAL / "rails.yml").read_text(encoding="utf-8")
JAVA = (REAL / "app.properties").read_text(encoding="utf-8")


def protected(segment):
    return [segment.text[span.start : span.end] for span in segment.protected]


def by_path(form, text):
    return {".".join(s.path): s.text for s in form.split(text, "de")}


def put(form, text, translation):
    segments = form.split(text, "de")
    return join_segments(text, segments, [translation, *[None] * (len(segments) - 1)])


# ---- JSON


def test_values_of_a_flutter_file():
    """Values are segments with the notes of their metadata; branches of a plural are separate segments."""
    segments = json_messages.FORMAT.split(ARB, "de")
    assert [(".".join(s.path), s.text, s.note) for s in segments] == [
        ("title", "My notes", "Name of the application"),
        ("count.=0", "No notes", ""),
        ("count.one", "# note by {who}", "form for the number 1"),
        ("count.other", "# notes by {who}", "plural form for the numbers 0, 2, 3, 4, ..."),
        ("mixed", "You have {n, plural, one{# note} other{# notes}}, {who}. It's fine.", ""),
        ("escaped", "Café “open”\n<b>now</b>", ""),
    ]
    assert protected(segments[2]) == ["#", "{who}"]
    assert protected(segments[4]) == ["{n, plural, one{#", "} other{#", "}}", "{who}"]


@all_rows(
    ("text", "strings"),
    [
        ('{"a":"b","c" : "d" ,\n"e": {"f": "g"}, "h": ["i", {"j": "k"}]}', "a=b c=d e.f=g h.0=i h.1.j=k"),
        (r'{"\u0061\n": "x\"y", "n": 1, "b": "c"}', 'a\n=x"y b=c'),
    ],
)
def test_members_of_objects_are_read_whole(text, strings):
    """Keys with strings are read in one step, with blanks, escapes and objects around them."""
    found = json_messages.parse_strings(text)
    assert [f"{'.'.join(each.path)}={each.text}" for each in found] == strings.split(" ")
    for each in found:
        assert json.loads(text[each.start - 1 : each.end + 1]) == each.text
        assert each.key_start < 0 or json.JSONDecoder().raw_decode(text, each.key_start)[0] in each.path


@all_rows(
    ("text", "refused"),
    [
        ('{"a": "b",}', 10), ('{"a": "b" "c"}', 10), ('{"a": "b"', 9), ('{"a": "b", "c"', 14), ('{"a" "b"}', 5),
        ('["a": "b"]', 4), ('{"a": "b"]', 9), ('{"a": "b", 1: "c"}', 11), ('"a": "b"', 3), ('{"a": "b": "c"}', 9),
        ('{"a": "b"}, "c": "d"', 10), ('{"a": "b", "c": "d\n"}', 16), (r'{"a": "\x"}', 6), ('{,"a": "b"}', 1),
    ],
)  # fmt: skip
def test_members_of_no_object_are_refused(text, refused):
    """What the grammar does not allow is refused where it is, and after a member as before."""
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    for line in range(2):
        text, refused = text[:refused] + "\n" * line + text[refused:], refused + line
        with pytest.raises(BadDocument) as caught:
            json_messages.parse_strings(text)
        assert caught.value.line == line + 1


def test_keys_and_other_values_stay():
    """Only string values are translated, in objects and arrays, also under duplicate keys."""
    text = '{"a b": ["c d", 1, null, true, {"e": "f g"}], "a b": "h", "i": "https://a.b", "$schema": "x y"}'
    assert [s.text for s in json_messages.FORMAT.split(text, "de")] == ["c d", "f g", "h"]


def test_a_browser_extension_file():
    """Only the messages of messages.json are read; the descriptions are notes."""
    text = '{"name": {"message": "My tool", "description": "The name"}, "b": {"message": "Go"}}'
    assert [(s.text, s.note) for s in json_messages.FORMAT.split(text, "de")] == [("My tool", "The name"), ("Go", "")]


def test_i18next():
    """Interpolation and nesting are protected."""
    (segment,) = json_messages.FORMAT.split('{"key_one": "{{count}} item in $t(shop.name) <1>now</1>"}', "de")
    assert protected(segment) == ["{{count}}", "$t(shop.name)"]


def test_plural_keys_of_i18next():
    """The target language's forms are added before "other"; the others stay, since a key may be used anywhere."""
    text = '{"a_one": "{{count}} thing",\n "a_other": "{{count}} things",\n "the_other": "No plural"}'
    segments = json_messages.FORMAT.split(text, "ru")
    assert [s.path[-1] for s in segments] == ["a_one", "a_few", "a_many", "a_other", "the_other"]
    assert [s.text for s in segments][:2] == ["{{count}} thing", "{{count}} things"]
    done = join_segments(text, segments, ["{{count}} x", None, None, "{{count}} y", None])
    assert done == text.replace('thing"', 'x"').replace(
        '"a_other": "{{count}} things"',
        '"a_few": "{{count}} things",\n "a_many": "{{count}} things",\n "a_other": "{{count}} y"',
    )
    assert [s.path[-1] for s in json_messages.FORMAT.split(text, "ja")] == ["a_one", "a_other", "the_other"]
    assert len(json_messages.FORMAT.split('{"a_on\\u0065": "One thing", "a_other": "Things"}', "ru")) == 2


def test_branches_of_the_target_language():
    """A plural argument gets the categories that the language has, and loses those that it lacks."""
    text = '["{n, plural, =0 {None here}\\n one {# thing}\\n other {# things }}"]'
    segments = json_messages.FORMAT.split(text, "pl")
    assert [s.path[-1] for s in segments] == ["=0", "one", "few", "many", "other"]
    done = join_segments(text, segments, [None, "# x", "# y", None, "# z"])
    assert json.loads(done) == [
        "{n, plural, =0 {None here}\n one {# x}\n few {# y }\n many {# things }\n other {# z }}"
    ]
    done = join_segments(text, json_messages.FORMAT.split(text, "ja"), ["x", "# y"])
    assert json.loads(done) == ["{n, plural, =0 {x}\n other {# y }}"]
    assert len(json_messages.FORMAT.split(text.replace("plural", "selectordinal"), "pl")) == 3


def test_an_arb_file_declares_its_language():
    """In the spelling of ARB, if it declares its source language."""
    change = json_messages.FORMAT.replace_language
    assert '"@@locale": "pt_BR"' in change(ARB, [], "en", "pt-BR")
    assert change(ARB, [], "de", "fr") == ARB


def test_json_escapes():
    """Quotes, line ends and backslashes are escaped; a file in ASCII with escapes stays in ASCII."""
    assert put(json_messages.FORMAT, '{"a": " b\\nc\\n"}', 'x "y"\n\\é\x00') == '{"a": " x \\"y\\"\\n\\\\é\\n"}'
    assert put(json_messages.FORMAT, '{"a": "b \\u00e9"}', "é\U0001f600") == '{"a": "\\u00e9\\ud83d\\ude00"}'
    assert json.loads(put(json_messages.FORMAT, ARB, "Ä"))["title"] == "Ä"


def test_a_lone_surrogate_is_left_alone():
    """A string with a lone surrogate cannot be written in UTF-8, so it is no segment."""
    assert json_messages.FORMAT.split('["a \\ud800 b"]', "de") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [("[1,\n]", 2), ("{\n'a': 1}", 2), ('{"a" "b"}', 1), ('["a\nb"]', 1), ("[1] 2", 1), ('{"a": "b"', 1), ("[01]", 1), ('{"a":1,}', 1),
     ("nope", 1), ("]", 1), ('{"a": }', 1), ('["a":1]', 1), ("[1 2]", 1)],
)  # fmt: skip
def test_broken_json_is_refused(text, line):
    """Our scanner and the standard library agree about what is broken."""
    with pytest.raises(BadDocument) as refused:
        json_messages.FORMAT.split(text, "de")
    assert refused.value.line == line
    assert json_messages.FORMAT.check(text)


def test_deep_json():
    """Nesting deeper than Python's recursion limit is read."""
    text = "[" * 50_000 + '"a b"' + "]" * 50_000
    assert [s.text for s in json_messages.FORMAT.split(text, "de")] == ["a b"]
    assert json_messages.FORMAT.check(text) == ""


@pytest.mark.parametrize("name", ["plain", "json", "yaml", "properties", "po"])
def test_entities_are_protected(name):
    """If texts become HTML later, their entities stay in any format: named, decimal, hexadecimal."""
    words = "Fish &amp; chips &#8212; fresh&#xA0;&nbsp; & AT&T"
    text = {"json": f'["{words}"]', "yaml": f"a: {words}\n", "properties": f"a={words}\n",
            "po": f'#, c-format\nmsgid "{words}"\nmsgstr ""\n'}.get(name, words)  # fmt: skip
    (segment,) = find_format("", "", name).split(text, "de")
    assert protected(segment) == ["&amp;", "&#8212;", "&#xA0;", "&nbsp;"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("json", '{"a": "b c"}'), ("yaml", "a: b c\n"), ("yaml", "a: |\n  b c\n"), ("yaml", "a: >\n  b c\n"),
     ("properties", "a=b c\n"), ("properties", "a=b c {0}\n"), ("po", 'msgid "b c"\nmsgstr ""\n'),
     ("markdown", "---\ntitle: b c\n---\n")],
)  # fmt: skip
def test_a_message_of_one_line_stays_one(name, text):
    """Line ends that a model adds become blanks if the source has no line end."""
    form = find_format("", "", name)
    (segment,) = form.split(text, "de")
    written = join_segments(text, [segment], [segment.text.replace("b c", "x \n\n y\rz")])
    (again,) = form.split(written, "de")
    assert (again.existing_translation or again.text) == segment.text.replace("b c", "x y z")


def test_a_message_has_as_many_paragraphs_as_its_source():
    """Empty lines are kept up to the number in the source."""
    first, second = json_messages.FORMAT.split('["a\\nb", "a\\n\\nb\\nc"]', "de")
    assert first.encode("x\n\ny\n z") == "x\\ny\\n z"
    assert second.encode("x\n\ny\n\nz") == "x\\n\\ny\\nz"


# ---- ICU


def test_icu_syntax_in_words_becomes_literal():
    """If braces are ICU's, braces of a translation are quoted, and no apostrophe begins a quotation."""
    text = '["{n, plural, other {# of {x}}}", "for {x}"]'
    *_, first, second = json_messages.FORMAT.split(text, "fr")
    assert first.encode("# d'{x} {y}") == "# d\u2019{x} '{'y'}'"
    assert second.encode("l'{x}, d'eau") == "l\u2019{x}, d'eau"


@pytest.mark.parametrize(
    ("text", "selectors"),
    [("{a, select, x {b} other {c {d} e}}", ["x", "other"]), ("{a, plural, offset:1 =0 {b} other {'{' c}}", ["=0", "other"]),
     ("{a, plural, one {b}} c", [""]), ("{a, plural, one {b}", [""]), ("{a} b", [""])],
)  # fmt: skip
def test_branches(text, selectors):
    """A message that consists of one argument is split into its branches, another one is not."""
    assert [branch.selector for branch in icu_messages.split_branches(text)] == selectors


def test_nested_arguments():
    """Arguments inside branches are protected together with the syntax around them."""
    text = "Hi {a, select, x {{n, plural, one {# cat} other {# cats}}} other {no}} bye"
    assert icu_messages.is_icu(text)
    spans = icu_messages.find_message_spans(text, icu=True)
    assert [text[s.start : s.end] for s in spans] == [
        "{a, select, x {{n, plural, one {#", "} other {#", "}}} other {", "}}",
    ]  # fmt: skip
    assert not icu_messages.is_icu("{a, plural, one {b}")


# ---- YAML


def test_values_of_a_rails_file():
    """Strings are segments under their keys; dates, numbers, booleans, aliases and keys are not."""
    assert by_path(yaml_messages.FORMAT, RAILS) == {
        "en.date.formats.short": "%b %d",
        "en.date.formats.long": "%B %d, %Y",
        "en.date.order.0": ":year",
        "en.date.order.1": ":month",
        "en.shop.title": "Welcome to the shop",
        "en.shop.greeting": "Hello, %{name}!\nNice to see you.",
        "en.shop.no": "It's over",
        "en.shop.yes": "Try again",
        "en.shop.items.zero": "no items",
        "en.shop.items.one": "one item",
        "en.shop.items.other": "%{count} items",
        "en.shop.terms": "Terms of the shop\n\n1. Pay.\n2. Be kind.",
        "en.shop.about": "We sell things since 1999: good ones.\nCome in.",
        "en.shop.long": "a plain text that goes on on the next line",
    }


@all_rows(
    "translation",
    ["word", "yes", "2020-01-01", "null", "1.5", "a: b", "a #b", "- a", "'a'", '"', "it's", "a\nb", "#a", "@a", "{a}", "[a", "*a", "a:", "a,b",
     "&a", "!a", "%a", "|", "> a", "? a", "a\tb", "é", "~", "a, b]", "---", "\\n", "a\x07b\x85c", "=", "0x1f", "1:30", "on", "y"],
)  # fmt: skip
@all_rows(
    ("text", "read"),
    [("k: a b\n", lambda data: data["k"]), ("k: 'a b'\n", lambda data: data["k"]), ('k: "a b"\n', lambda data: data["k"]),
     ("- a b # c\n", lambda data: data[0]), ("{k: a b, l: [a b]}\n", lambda data: data["k"]),
     ("k: |\n  a b\nl: 1\n", lambda data: data["k"].removesuffix("\n")), ("k: >-\n   a b\n\n", lambda data: data["k"]),
     ('k: "a\\nb"\n', lambda data: data["k"]), ("k: 'a\n\n  b'\n", lambda data: data["k"]),
     ("k: |-\n  a\n  b\n", lambda data: data["k"]), ("k: >-\n  a\n\n  b\n", lambda data: data["k"])],
)  # fmt: skip
def test_any_translation_is_read_back(text, read, translation):
    """Any translation, in each style, is read by YAML as a string of its words."""
    done = put(yaml_messages.FORMAT, text, translation)
    line_end = "\n" if "\n" in read(yaml.safe_load(text)) else " "
    wanted = translation.replace("\x07", "").replace("\x85", "\n").replace("\n", line_end)
    assert read(yaml.safe_load(done)) == wanted


def test_styles_are_kept():
    """A style is kept as long as it can represent the words."""
    assert put(yaml_messages.FORMAT, "k: a b # c\n", "x y") == "k: x y # c\n"
    assert put(yaml_messages.FORMAT, "k: a b\n", "x: y") == "k: 'x: y'\n"
    assert put(yaml_messages.FORMAT, "k: 'a b'\n", "it's") == "k: 'it''s'\n"
    assert put(yaml_messages.FORMAT, "k: &a !!str a b\n", "x") == "k: &a !!str x\n"
    assert put(yaml_messages.FORMAT, "k: |2\r\n    a\r\n   b\r\n", "x\ny") == "k: |2\r\n    x\r\n  y\r\n"
    assert put(yaml_messages.FORMAT, "k: |-\r\n  a\r\n\r\n  b\r\n", "x\n\ny") == "k: |-\r\n  x\r\n\r\n  y\r\n"
    assert put(yaml_messages.FORMAT, "k: >\n  a\n    b\n  c\n", "x\n  y\nz") == "k: |\n  x\n    y\n  z\n"


def test_keys_are_never_translated():
    """Neither are collections that are keys, nor aliases as keys."""
    text = "? [a b, c d]\n: e f\n? {g: h}\n: i j\nk: &x l\n*x : m n\n"
    assert [s.text for s in yaml_messages.FORMAT.split(text, "de")] == ["e f", "i j", "l", "m n"]


@pytest.mark.parametrize(
    ("text", "line"), [("a: [b\n", 2), ("a: b\n c: d\n", 2), ("a: 'b\n", 2), ("a:\n\t- b\n", 2), ("a: \x07\n", 1)]
)
def test_broken_yaml_is_refused(text, line):
    """What libyaml cannot parse is refused with its line."""
    with pytest.raises(BadDocument) as refused:
        yaml_messages.FORMAT.split(text, "de")
    assert refused.value.line == line
    assert yaml_messages.FORMAT.check(text).startswith(f"line {line}: ")


def test_too_deep_yaml_is_refused():
    """Endless brackets are refused before they take long."""
    with pytest.raises(BadDocument):
        yaml_messages.FORMAT.split("[" * 1000, "de")


# ---- .properties


def test_values_of_a_java_file():
    """Values are segments with the comments before them; continued lines are joined, escapes are decoded."""
    segments = properties.FORMAT.split(JAVA, "de")
    assert [(s.path[0], s.text, s.note) for s in segments] == [
        ("app.title", "Notes", "Messages of the application"),
        ("greeting", "Hello, {0}! It's {1,number,integer} o'clock.", "shown at the start"),
        ("plain", "It's plain", ""),
        ("long", "a text that goes on", ""),
        ("escaped key", "café\tand\\more", ""),
    ]
    assert protected(segments[1]) == ["{0}", "{1,number,integer}"]


def test_message_format_quotes():
    """In a pattern apostrophes are doubled and braces quoted; in other values they are not."""
    text = "a=to {0}\nb=c\n"
    first, second = properties.FORMAT.split(text, "fr")
    assert first.encode("l'{0} {x}") == "l''{0} '{'x'}'"
    assert second.encode("l'eau {x}") == "l'eau {x}"


def test_properties_escapes():
    """Line ends, backslashes and leading blanks are escaped; non-ASCII characters too if the file is pure ASCII."""
    assert put(properties.FORMAT, "a=b\\nc\n", "x\ny\\ é") == "a=x\\ny\\\\ \\u00e9\n"
    assert put(properties.FORMAT, "a=b é\n", "é\U0001f600") == "a=é\U0001f600\n"
    assert put(properties.FORMAT, "a=b\n", "\U0001f600") == "a=\\ud83d\\ude00\n"
    assert put(properties.FORMAT, "a=b\\\n   c\nd=e\n", "= x") == "a=\\= x\nd=e\n"


def test_broken_properties_are_refused():
    """Java refuses an escape without its four digits; preceding backslashes count."""
    with pytest.raises(BadDocument) as refused:
        properties.FORMAT.split("a=b\n\nc=\\u12\n", "de")
    assert refused.value.line == 3
    assert properties.FORMAT.check("a=\\\\u12\n") == ""


# ---- all of them


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (json_messages.FORMAT, '{"a": "One line\\r\\nand two"}', '{"a": "x\\r\\ny"}'),
        (properties.FORMAT, "a=One line\\r\\nand two\n", "a=x\\r\\ny\n"),
        (yaml_messages.FORMAT, 'a: "One line\\r\\nand two"\n', 'a: "x\\r\\ny"\n'),
        (po.FORMAT, 'msgid "One line\\r\\nand two"\nmsgstr ""\n', '""\n"x\\r\\n"\n"y"'),
    ],
)
def test_crlf_inside_a_value_survives(form, text, expected):
    """Models answer with LF; the program that shows the value may need CRLF. A value with LF keeps that."""
    assert expected in put(form, text, "x\ny")
    assert expected.replace("\\r", "") in put(form, text.replace("\\r", ""), "x\r\ny")
