"""Control sequences, control characters and unusual separators of a text stay; those of an answer alone are removed."""

import json
import re

import pytest
import yaml
from scripted import ScriptedBackend, last_message
from tasks.helpers import result

from llmcli.documents.formats.message_files.po_parser import parse_entries
from llmcli.documents.reading.document import Document
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator

TEXT = (
    "one \x1b[1;31mtwo\x1b[0m \x1b]8;;http://a.b/\x07link\x1b]8;;\x07 bell\x07 back\x08 del\x7f low\x01 "
    "high\x9b1m next\x85line\u2028separator\u2029form\x0cfeed\x0bfile\x1csign \x1b]0;title without end"
)


def mirror(text):
    """Return the text with each of its words written backwards, but not those of control sequences."""
    return re.sub(r"\x1b\]8;;.*?\x07|\x1b\[[\d;]*m|\x9b1m|\w+", lambda m: m[0][::-1] if m[0].isalpha() else m[0], text)


def answer_mirrored(request):
    return mirror(last_message(request))


def run(prompts, text, answer=answer_mirrored, *, name="doc.txt"):
    """Return the result of a translation from French into French, so that no answer is in the wrong language."""
    french = parse_language("fr")
    by = Translator(ScriptedBackend(answer), prompts.get(PROMPT), GenerationOptions(), french, model_id="m")
    return result(translate([TranslationSpec(Document(name, text), by, french)]))


def escape_yaml(text):
    return re.sub("[^ -~]", lambda match: f"\\u{ord(match[0]):04x}", text)


def escape_read(written):
    return re.sub(r"\\u(....)", lambda match: chr(int(match[1], 16)), written).replace("\\f", "\f")


def po_text(text):
    return re.sub(r"[\x00-\x1f]", lambda match: f"\\{ord(match[0]):03o}", text)


def read_po(text):
    return list(parse_entries(text))[-1].value("msgstr")


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.txt", str, str),
        ("a.md", str, str),
        ("a.html", lambda text: f"<p>{text}</p>", lambda text: text[3:-4]),
        ("a.json", lambda text: json.dumps({"a": text}), lambda text: json.loads(text)["a"]),
        ("a.yaml", lambda text: f'a: "{escape_yaml(text)}"', lambda text: yaml.safe_load(text)["a"]),
        ("a.properties", lambda text: f"a={escape_yaml(text)}", lambda text: escape_read(text[2:])),
        ("a.po", lambda text: f'msgid "{po_text(text)}"\nmsgstr ""\n', read_po),
        ("a.srt", lambda text: f"1\n00:00:01,000 --> 00:00:02,000\n{text}", lambda text: text.split("\n", 2)[2]),
        ("a.vtt", lambda text: f"WEBVTT\n\n00:01.000 --> 00:02.000\n{text}", lambda text: text.split("\n", 3)[3]),
    ],
)
def test_control_characters_stay(prompts, name, write, read):
    """Only the words change, in every format."""
    done = run(prompts, write(TEXT), name=name)
    assert not done.cut
    assert " ".join(read(done.text).split("\n")) == mirror(TEXT)


@pytest.mark.parametrize("answer", ["ONE TWO[#1]", "ONE TWO", "ONE\x1b[1mTWO", "ONE[#1][#1]TWO"])
def test_a_lost_control_character_is_reported(prompts, answer):
    """An answer that loses it, repeats it or moves it to the end leaves the text as it was."""
    done = run(prompts, "one\x0ctwo", lambda _: answer)
    assert (done.text, done.cut) == ("one\x0ctwo", True)
    assert "the marks are wrong" in done.warnings[0]


@pytest.mark.parametrize("answer", ["TWO[#1]", "[#1]TWO"])
def test_white_space_may_be_inside_of_an_end(prompts, answer):
    """Form feeds at the outer side of a mark would be removed at the end of a text, but not at its inner side."""
    done = run(prompts, "\x01\x0ctwo", lambda _: answer)
    assert (done.text, done.cut) == (("\x01\x0cTWO", False) if answer[0] == "[" else ("\x01\x0ctwo", True))


def test_invented_control_characters_are_removed(prompts):
    """What the source does not have is removed, and what it has stays."""
    done = run(prompts, "one \x1b[1mtwo", lambda _: "U\x07N\x1b[31m [#1]DE\x9bUX\x0c")
    assert (done.text, done.cut) == ("UN \x1b[1mDEUX", False)


def test_form_feeds_at_line_ends_stay(prompts):
    """White space around line ends is laid out anew, but not form feeds."""
    assert run(prompts, "one\n\x0ctwo\x0c\n  three\n").text == "eno\n\x0cowt\x0c\n  eerht\n"


def test_form_feeds_at_line_ends_of_markdown_stay(prompts):
    """Also where lines are joined and wrapped anew, and where each line is a sentence."""
    assert run(prompts, "- ab\x0c\n  \x0ccd\n", name="a.md").text == "- ba\x0c \x0cdc\n"
    assert run(prompts, "\x0cab.\n\x0ccd.\x0c\n", name="a.md").text == "\x0cba.\n\x0cdc.\x0c\n"


def test_references_to_control_characters_stay(prompts):
    """HTML has no character for most of them: their references stay as they are written."""
    assert (
        run(prompts, "<p>one &#27;two &#x7; x &#8232;y</p>", name="a.html").text
        == "<p>eno &#27;owt &#x7; x &#8232;y</p>"
    )


@pytest.mark.parametrize("style", ["|", ">"])
def test_a_block_scalar_keeps_separators(prompts, style):
    """A block scalar that has other line ends than line feeds is written between quotes."""
    source = f"a: {style}\n  one\u2028  two\n  three\n\n# end\nb: four\n"
    done = run(prompts, source, name="a.yaml").text
    assert yaml.safe_load(done) == {key: mirror(value) for key, value in yaml.safe_load(source).items()}
    assert "# end" in done


def test_a_link_title_keeps_control_characters(prompts):
    """Titles of links and of their definitions too."""
    text = '[ab](x "bc\x0ccd") e\n\n[a]: /x "fg\x0cgh"\n'
    assert run(prompts, text, name="a.md").text == '[ba](x "cb\x0cdc") e\n\n[a]: /x "gf\x0chg"\n'
