from dataclasses import replace

import pytest
from scripted import ScriptedBackend

from llmcli.documents.format_registry import load_format
from llmcli.documents.reading.document import Document
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate.document_output import DocumentOutput
from llmcli.tasks.translate.segment_state import SegmentState, SegmentStatus
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Delta, Notice


@pytest.fixture
def begin(prompts):
    """Return a function from a format and a text to their output and the states of the segments."""

    def make(name, text, *, bom=False):
        translator = Translator(ScriptedBackend(), prompts.get("translate"), GenerationOptions(), parse_language("fr"))
        spec = TranslationSpec(Document("d", text, bom=bom), translator)
        states = [SegmentState(segment) for segment in load_format(name).split(text, "fr")]
        return DocumentOutput(spec, 0, load_format(name), text, states), states

    return make


def texts(events):
    return [event.text for event in events if isinstance(event, Delta)]


def test_plain_text_is_written_up_to_the_first_unfinished_segment(begin):
    """Each finished segment comes with the text before it; the rest comes at the end."""
    output, (one, two) = begin("plain", "one\n\ntwo\n", bom=True)
    one.translation, two.done = "un", False
    assert texts(output.write_finished_segments()) == ["\ufeffun"] and not output.all_written
    two.done, two.translation = True, "deux"
    assert texts(output.write_finished_segments()) == ["\n\ndeux"] and output.all_written
    assert texts(output.finish(None)) == ["\n"]
    assert (output.text, output.text_without_bom) == ("\ufeffun\n\ndeux\n", "un\n\ndeux\n")


def test_other_formats_are_written_when_they_are_complete(begin):
    """Nothing comes before the last segment, then everything, with the language of the root."""
    output, (segment,) = begin("yaml", "en:\n  a: one\n")
    segment.translation = "un"
    assert texts(output.write_finished_segments()) == [] and output.all_written
    assert texts(output.finish(parse_language("en"))) == ["fr:\n  a: un\n"]


def test_a_segment_without_a_translation_is_reported_with_its_line(begin):
    """It stays in the source language, and so do its repetitions."""
    output, (one, two, three) = begin("plain", "one\n\ntwo\n\none\n")
    one.status, one.problems, three.repeated_index = SegmentStatus.UNTRANSLATED, ("no",), 0
    two.translation = "deux"
    events = list(output.write_finished_segments())
    expected = ["line 1: left untranslated: no", "line 5: left untranslated: no"]
    assert [event.text for event in events if isinstance(event, Notice)] == output.warnings == expected
    list(output.finish(None))
    assert output.text == "one\n\ndeux\n\none\n" and three.is_untranslated


def test_translations_that_break_the_document_are_reverted(begin):
    """Only the ones that do so; none if the source itself is broken."""
    output, (one, two) = begin("json", '{"a": "one", "b": "two"}')
    two.translation = "deux"
    one.translation = "un"
    one.segment = replace(one.segment, encode=lambda _: '"')
    events = [*output.write_finished_segments(), *output.finish(None)]
    assert output.text == '{"a": "one", "b": "deux"}'
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "line 1: left untranslated: the translation would make the json invalid"
    ]
