"""The plan of one document's translation: its segments, the ones already known, the first requests to the model.

``translate`` executes it, and ``translate --dry-run`` counts it.
"""

from __future__ import annotations

from functools import partial

from llmcli.errors import CannotCreate, UsageError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.tasks.languages import detect_language
from llmcli.tasks.translate.answer_checks import is_usable_translation
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.segment_requests import SegmentTask, mask_segment
from llmcli.tasks.translate.segment_state import SegmentState, SegmentStatus
from llmcli.tasks.translate.target_file import TargetFile, TranslationSpec
from llmcli.tasks.translate.translator import SegmentContext

_PRECEDING_CHARS, _FOLLOWING_CHARS = 120, 80
"""Number of characters before and after a segment that the model sees."""
_MAX_TITLE_CHARS = 100
_MAX_PATH_PARTS = 3
"""Number of headings or keys above a segment that the model sees."""


class DocumentPlan:
    """The segments of a document, and how each gets its translation.

    ``text``: the document, merged with its earlier translation if that holds both languages. ``source_language`` is
    None if it is unknown, or if no model needs it. ``memory``: the translations that are known. Raises ``BadDocument``,
    and ``UsageError`` if the format cannot hold both languages that the output is to have.
    """

    def __init__(self, spec: TranslationSpec, memory: TranslationMemoryCache) -> None:
        self.spec = spec
        self.memory = memory
        self.format = spec.find_format()
        if spec.interleaves and not self.format.can_interleave:
            raise UsageError(
                f"a {self.format.name} file cannot hold two languages",
                detail="Leave out --bilingual; --report FILE lists sources and translations.",
            )
        self.target_file = TargetFile(spec, memory)
        self.text = self.target_file.text_to_translate(self.format)
        segments = self.format.split(self.text, spec.translator.target.code)
        self.states = [SegmentState(segment) for segment in segments]
        headings = (segment.text for segment in segments if segment.kind == "heading")
        self._title = _first_chars(next(headings, ""), _MAX_TITLE_CHARS)
        self.source_language = spec.source
        if spec.source is None and spec.translator.stub_translate is None:
            self.source_language = detect_language("\n".join(segment.text for segment in segments))

    def require_finished(self) -> None:
        """Raise ``CannotCreate`` unless the output file is finished already."""
        if not self.target_file.is_finished(self.text, self.format):
            raise CannotCreate(str(self.spec.output), exists=True)

    def apply_known_translations(self) -> int:
        """Apply existing translations to their segments; return how many edits of people are outdated.

        Raises ``CannotCreate`` and ``BadDocument`` as ``TargetFile.carry_over``.
        """
        carried = self.target_file.carry_over(
            [state.segment for state in self.states], self.source_language, self.format
        )
        first: dict[tuple[str, str], int] = {}
        for index, state in enumerate(self.states):
            check_interrupt()
            segment = state.segment
            same = (segment.text, segment.note)
            if segment.existing_translation is not None:
                state.status = SegmentStatus.EXISTING
            elif index in carried.texts:
                state.status, state.translation = SegmentStatus.UPDATE, carried.texts[index]
                region = carried.regions.get(index)
                if region is not None:  # with whatever markup people wrote
                    state.segment = replace(segment, encode=partial(_existing_region, region))
            elif segment.damage:
                state.revert(segment.damage)
            elif same in first:
                state.status, state.repeated_index = SegmentStatus.REPEATED, first[same]
            else:
                known = self.memory.find(segment, self.source_language, self.spec.translator)
                if known is not None and is_usable_translation(segment, known):
                    state.status, state.translation = SegmentStatus.MEMORY, known
                else:
                    state.done = False
                first[same] = index
        return carried.outdated_edits

    @property
    def new_segments(self) -> list[int]:
        """The positions of the segments without a translation."""
        return [index for index, state in enumerate(self.states) if not state.done]

    def make_tasks(self, key: str) -> list[tuple[int, SegmentTask]]:
        """Return what the model is to do for each new segment, with the texts split to fit one request.

        The ids of the requests begin with ``key``. Raises ``ContextOverflow``.
        """
        new = self.new_segments
        if not new:
            return []
        translator = self.spec.translator
        masked = run_interruptible(lambda: [mask_segment(self.states[index].segment, translator) for index in new])
        budget = translator.context_budget(self.spec.name)
        counts = budget.count_tokens([text.text for text in masked])
        tasks = []
        for index, text, tokens in zip(new, masked, counts, strict=True):
            pieces = [(text.text, tokens)]
            if not budget.fits_tokens(tokens):
                parts = list(budget.split_to_fit(text.text))
                pieces = list(zip(parts, budget.count_tokens(parts), strict=True))
            segment, around = self.states[index].segment, self._context_of(index)
            task = SegmentTask(f"{key}.{index}", segment, text, around, self.source_language, pieces)
            tasks.append((index, task))
        return tasks

    def _context_of(self, index: int) -> SegmentContext:
        """Return what the model sees around a segment; what its title and its headings say is not repeated."""
        segment = self.states[index].segment
        above = [words for words in segment.path[-_MAX_PATH_PARTS:] if words != self._title]
        before = after = ""
        if segment.kind != "message":  # messages of a program do not follow from each other
            if index > 0 and self.states[index - 1].segment.kind != "heading":
                before = _last_chars(self.states[index - 1].segment.text, _PRECEDING_CHARS)
            if index + 1 < len(self.states) and self.states[index + 1].segment.kind != "heading":
                after = _first_chars(self.states[index + 1].segment.text, _FOLLOWING_CHARS)
        title = "" if segment.text == self._title else self._title
        return SegmentContext(" > ".join(above), before, after, segment.note, title)


def _first_chars(text: str, limit: int) -> str:
    """Return the whole words at the beginning of a text, in at most ``limit`` characters."""
    return text if len(text) <= limit else text[:limit].rpartition(" ")[0] or text[:limit]


def _last_chars(text: str, limit: int) -> str:
    """Return the whole words at the end of a text, in at most ``limit`` characters."""
    return text if len(text) <= limit else text[-limit:].partition(" ")[2] or text[-limit:]


def _existing_region(region: str, _translation: str) -> str:
    return region
