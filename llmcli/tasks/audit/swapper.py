"""Swaps the words of an input: the same text for each group, or the reason why a group has none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from llmcli.documents.records.record import Record
from llmcli.errors import BadDocument, InputError
from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.audit.pronouns import (
    AGREEMENT_PROBLEMS,
    FEMALE,
    MALE,
    NEUTRAL,
    PRONOUN_SLOTS,
    AgreementError,
    gendered_noun,
    has_pronouns,
    match_case,
    pronoun,
    replace_spans,
    swap_pronouns,
)
from llmcli.tasks.audit.swap_file import SwapFile, SwapGroup

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]['\"\u201d)]*\s+|\n)['\"\u201c(]*$")
_MIXED = "words of several groups"


@frozen
class SwappedInput:
    """An input in which words were swapped: its text by group, and the reason by group that has none.

    ``source`` is the group that the input itself is about, "" for a template.
    """

    record: Record
    source: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


@frozen
class SwappedInputs:
    """The inputs of an audit.

    ``unchanged`` are those in which nothing can be swapped, by reason ("": no word of the file).
    """

    inputs: tuple[SwappedInput, ...]
    unchanged: Mapping[str, int]

    @property
    def dropped(self) -> dict[str, int]:
        """The number of dropped pairs by reason."""
        return dict(Counter(reason for each in self.inputs for reason in each.dropped.values()))


def swap_records(records: Iterable[Record], swaps: SwapFile) -> SwappedInputs:
    """Return the records with swapped words. Raises ``BadDocument`` for unknown slots, ``InputError`` if nothing changes."""
    swapper, unchanged, found = Swapper(swaps), Counter[str](), []
    for number, record in enumerate(records):
        swapped = swapper.swap(record, number)
        if isinstance(swapped, str):
            unchanged[swapped] += 1
        else:
            found.append(swapped)
    if not any(len(each.texts) > 1 for each in found):
        reasons = unchanged + Counter(reason for each in found for reason in each.dropped.values())
        told = ", ".join(
            f"{AGREEMENT_PROBLEMS.get(reason, reason)} ({count} times)" for reason, count in reasons.items() if reason
        )
        slots = " or ".join(f"{{{slot}}}" for slot in (*swaps.kinds, *PRONOUN_SLOTS)[:2])
        raise InputError(
            swaps.name,
            detail=told or f"no input has a word of it, or a slot such as {slots}",
            message="nothing in the input can be swapped by {subject}: {detail}",
            advice="For its words: llm audit show NAME, for texts with slots: llm audit show templates",
            type_name="NothingToSwap",
        )
    return SwappedInputs(tuple(found), dict(unchanged))


class Swapper:
    """Exchanges the words of one file; pronouns follow where the gender changes."""

    def __init__(self, swaps: SwapFile) -> None:
        self._swaps = swaps
        self._groups = {group.name: group for group in swaps.groups}
        self._slots = {*swaps.kinds, *PRONOUN_SLOTS}

    @cached_property
    def _words(self) -> dict[str, tuple[str, str, int]]:
        """Each word with its group, its kind and its index there."""
        return {
            word: (group.name, kind, index)
            for group in self._swaps.groups
            for kind, words in group.words.items()
            for index, word in enumerate(words)
        }

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        if not self._words:
            return re.compile(r"(?!)")
        longest_first = map(re.escape, sorted(self._words, key=len, reverse=True))
        return re.compile(rf"(?<![\w-])(?:{'|'.join(longest_first)})(?![\w-])")

    def swap(self, record: Record, number: int) -> SwappedInput | str:
        """Return the texts of a record by group, or the reason why there are none, "" if it has no word of the file.

        ``number`` chooses the words of slots, so that inputs take turns. Raises ``BadDocument`` for a template with an
        unknown slot.
        """
        text = record.text
        slots = {match[1] for match in _SLOT.finditer(text)}
        if slots & self._slots:
            unknown = sorted(slots - self._slots)
            if unknown:
                kinds = ", ".join(sorted(self._slots))
                raise BadDocument(
                    record.name,
                    detail=f"{self._swaps.name} has no words for the slot {{{unknown[0]}}} (it has {kinds})",
                )
            return SwappedInput(
                record, "", {group.name: self._fill(text, group, number) for group in self._swaps.groups}
            )
        return self._exchange(record)

    def _fill(self, text: str, group: SwapGroup, number: int) -> str:
        spans = {}
        for match in _SLOT.finditer(text):
            kind = match[1]
            if kind in PRONOUN_SLOTS:
                word = pronoun(kind, group.gender)
            else:
                words = group.words.get(kind) or self._swaps.shared[kind]
                word = words[number % len(words)]
            starts = _SENTENCE_START.search(text[: match.start()]) is not None
            spans[match.span()] = match_case(word, "A") if starts else word
        return replace_spans(text, spans)

    def _exchange(self, record: Record) -> SwappedInput | str:
        text = record.text
        found = {match.span(): self._words[match.group()] for match in self._pattern.finditer(text)}
        sources = {group for group, _, _ in found.values()} or self._group_of_pronouns(text)
        if len(sources) != 1:
            return _MIXED if sources else ""
        (source,) = sources
        texts, dropped = {source: text}, {}
        for group in self._swaps.groups:
            if group.name != source:
                try:
                    texts[group.name] = self._for_group(text, found, self._groups[source], group)
                except AgreementError as error:
                    dropped[group.name] = error.reason
        in_order = {name: texts[name] for name in self._groups if name in texts}
        return SwappedInput(record, source, in_order, dropped)

    def _group_of_pronouns(self, text: str) -> set[str]:
        """Return the group whose gender the pronouns of a text have, if one group alone has it."""
        genders = [gender for gender in (FEMALE, MALE) if has_pronouns(text, gender)]
        owners = [group.name for group in self._swaps.groups if group.gender in genders]
        return set(owners) if len(genders) == 1 and len(owners) == 1 else set()

    def _for_group(
        self, text: str, found: Mapping[tuple[int, int], tuple[str, str, int]], source: SwapGroup, target: SwapGroup
    ) -> str:
        """Return the text for another group. Raises ``AgreementError``."""
        spans = {span: target.words[kind][index] for span, (_, kind, index) in found.items()}
        if target.gender in {"", source.gender}:
            return replace_spans(text, spans)
        if source.gender in {"", NEUTRAL}:
            _require_no_other_person(_without(text, found), source.gender, target.gender)
            return replace_spans(text, spans)
        return _swap_both(text, spans, source.gender, target.gender)


def _require_no_other_person(rest: str, source: str, target: str) -> None:
    """Raise ``AgreementError`` if pronouns or nouns may refer to a person whose gender becomes ``target``."""
    if source == NEUTRAL and has_pronouns(rest, NEUTRAL):  # they may be several people
        raise AgreementError("number", "they")
    for other in {FEMALE, MALE} - {target}:
        if has_pronouns(rest, other) or gendered_noun(rest, other):
            raise AgreementError("gender", gendered_noun(rest, other))


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text with a placeholder for each of some spans: a word of one letter, which has no gender."""
    return replace_spans(text, dict.fromkeys(spans, _placeholder(text)), lambda before, _: before)


def _placeholder(text: str) -> str:
    """Return a character for private use that does not occur in a text."""
    return next(letter for letter in map(chr, range(0xE000, 0xF8FF)) if letter not in text)


def _swap_both(text: str, spans: Mapping[tuple[int, int], str], source: str, target: str) -> str:
    """Return the text with other words in some spans, and other pronouns elsewhere.

    The words are set aside while the pronouns change, since a title such as Ms. has a gender, too.
    """
    changed = swap_pronouns(_without(text, spans), source, target)
    words = iter(word for _, word in sorted(spans.items()))
    return replace_spans(changed, {match.span(): next(words) for match in re.finditer(_placeholder(text), changed)})


def variant_records(swapped: SwappedInputs) -> Iterator[tuple[Record, int, str]]:
    """Yield a record for each text, with the number of its input and its group: those of one input follow each other.

    They share the beginning of their prompts up to the first word that was swapped. The columns of a row are those of
    its input, with the swapped text where a column has the text.
    """
    index = 0
    for number, each in enumerate(swapped.inputs):
        if len(each.texts) < 2:  # noqa: PLR2004 (a pair)
            continue
        record = each.record
        for group, text in each.texts.items():
            fields = {name: text if value == record.text else value for name, value in record.fields.items()}
            yield Record(index, text, record.line, record.file, fields), number, group
            index += 1
