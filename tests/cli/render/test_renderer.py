"""The renderer: order, headers, endings and codes, event by event."""

from __future__ import annotations

import json

import pytest

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.environment import Environment
from llmcli.cli.flags import Flags
from llmcli.cli.render import renderer
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.cli.render.text_writer import TextEnding
from llmcli.errors import EmptyInput, Interrupted, NotUtf8, TimedOut
from llmcli.interrupt import Interrupt
from llmcli.types import Delta, ItemFailed, Notice, Result, Usage


@pytest.fixture
def shown(tmp_path):
    """Deliver events and return (code, stdout, stderr)."""

    def show(*events, how=renderer.ONE_ANSWER, **flags):
        files = [(tmp_path / name).open("w+b") for name in ("out", "err")]
        environment = Environment(stdout=files[0].fileno(), stderr=files[1].fileno())
        ctx = CommandContext(Flags(**flags), environment, Interrupt())
        code = render_events(ctx, lambda: iter(events), how).exit_code
        for file in files:
            file.seek(0)
        return (code, *(file.read().decode() for file in files))

    return show


def test_later_items_wait_for_earlier_ones(shown):
    """Items are printed in order, whatever the order of their pieces."""
    events = [Delta("b1", 1), Delta("a1", 0), Result(1, "b", "b1"), Delta("a2", 0), Result(0, "a", "a1a2")]
    assert shown(*events, how=DisplayOptions(input_names=("a", "b")))[1] == "==> a <==\na1a2\n\n==> b <==\nb1\n"


def test_a_failed_item_has_no_header(shown):
    """A failure is reported on stderr; the others continue."""
    events = [ItemFailed(0, "a", EmptyInput("a")), Delta("x", 1), Result(1, "b", "x")]
    code, out, err = shown(*events, how=DisplayOptions(input_names=("a", "b")))
    assert (code, out) == (3, "==> b <==\nx\n") and "a is empty" in err


def test_a_result_without_pieces_is_written(shown):
    """A text that was not streamed comes with its result."""
    assert shown(Result(0, "a", "whole"))[1] == "whole\n"


def test_a_document_keeps_its_own_ending(shown):
    """Documents end as they are."""
    for text in ("a", "a\n", "a\n\n\n", ""):
        how = DisplayOptions(ending=TextEnding.DOCUMENT, markdown=False)
        assert shown(Delta(text), Result(0, "a", text), how=how)[1] == text


def test_newlines_inside_an_answer_stay(shown):
    """Only the newlines at the end are changed."""
    assert shown(Delta("a\n"), Delta("\n"), Delta("b\n\n"), Result(0, "", ""))[1] == "a\n\nb\n"


def test_warnings_wait_for_the_outcome_without_a_terminal(shown):
    """Stderr stays empty on success; on failure the warnings help."""
    assert shown(Notice("careful"), Result(0, "", "x"))[2] == ""
    assert "careful" in shown(Notice("careful"), Result(0, "", "x", cut=True))[2]


def test_quiet_drops_warnings(shown):
    """-q suppresses them."""
    assert "careful" not in shown(Notice("careful"), Result(0, "", "x", cut=True), quiet=True)[2]


def test_json_failures_are_objects_with_names(shown):
    """With --json an item that failed is an object on stderr."""
    error = json.loads(shown(ItemFailed(0, "a", EmptyInput("a")), json=True)[2])["error"]
    assert (error["name"], error["code"]) == ("a", 65)


def test_a_timeout_is_124_whatever_was_delivered(shown):
    """The code says that the time ran out."""
    assert (
        shown(Result(0, "a", "x"), ItemFailed(1, "b", TimedOut()), how=DisplayOptions(input_names=("a", "b")))[0] == 124
    )


def test_an_error_in_the_middle_is_partial(tmp_path):
    """If the input fails after results were delivered, the code is 3; before, it is the error's own."""

    def events(*first):
        yield from first
        raise NotUtf8("-", offset=3)

    with (tmp_path / "o").open("wb") as out, (tmp_path / "e").open("wb") as err:
        ctx = CommandContext(Flags(), Environment(stdout=out.fileno(), stderr=err.fileno()), Interrupt())
        assert render_events(ctx, lambda: events(Result(0, "", "x"))).exit_code == 3
        with pytest.raises(NotUtf8):
            render_events(ctx, events)


def test_the_report_has_the_ends_that_are_kept(tmp_path):
    """In the order in which the inputs ended, failures too; by default no result stays in memory."""
    first, second = ItemFailed(1, "b", EmptyInput("b")), Result(0, "a", "x")

    def show(options):
        with (tmp_path / "o").open("wb") as out, (tmp_path / "e").open("wb") as err:
            ctx = CommandContext(Flags(), Environment(stdout=out.fileno(), stderr=err.fileno()), Interrupt())
            return render_events(ctx, lambda: iter([first, Delta("x", 0), second]), options)

    report = show(DisplayOptions(input_names=("a", "b"), keeps_ends=True))
    assert (report.exit_code, list(report.ends), report.results) == (3, [first, second], [second])
    assert list(show(DisplayOptions(input_names=("a", "b"))).ends) == []


def test_an_interruption_is_never_partial(tmp_path):
    """A signal ends the command as usual."""

    def events():
        yield Result(0, "", "x")
        raise Interrupted

    with (tmp_path / "o").open("wb") as file, pytest.raises(Interrupted):
        render_events(CommandContext(Flags(), Environment(stdout=file.fileno()), Interrupt()), events)


def test_stats_sum_over_results(shown):
    """--stats counts a whole job."""
    events = [Result(i, "", "x", usage=Usage(10, 4, 2)) for i in range(3)]
    assert "30 tokens in (12 reused), 6 out" in shown(*events, stats=True)[2]
