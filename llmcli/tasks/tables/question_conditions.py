"""The conditions in a question about a table: values, comparisons, years and months, truth values and empty cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.tables.column_roles import ColumnFacts, ColumnRole
from llmcli.tasks.tables.question_words import MONTHS, QuestionCue, is_unit_name, name_words
from llmcli.tasks.tables.schema_linking import SchemaLink, SchemaLinkKind, TableVocabulary, ValueMatch, quote_text

_COMPARISONS = {
    QuestionCue.OVER: ">",
    QuestionCue.UNDER: "<",
    QuestionCue.AT_LEAST: ">=",
    QuestionCue.AT_MOST: "<=",
    QuestionCue.EQUAL: "=",
}
_OF_TIME = frozenset(
    [
        "before",
        "after",
        "since",
        "until",
        "in",
        "during",
        "from",
        "of",
        "by",
        "im",
        "seit",
        "vor",
        "nach",
        "bis",
        "depuis",
        "avant",
        "en",
    ]
)
_FIRST_YEAR, _LAST_YEAR = 1000, 2200
_DIRECTION_NAMES = {
    "MAX": {"max", "maximum", "high", "highest", "upper"},
    "MIN": {"min", "minimum", "low", "lowest", "lower"},
}
_DIRECTION_OF: dict[QuestionCue | None, str] = {QuestionCue.HIGHEST: "MAX", QuestionCue.LOWEST: "MIN"}
_LAST_DAY = 31
_RANGE_WORDS = frozenset({"to", "-", "bis", "à"})
_PLACES = frozenset(
    ["location", "place", "city", "country", "region", "state", "address", "where", "site", "venue", "town"]
)
_AGENTS = ("er", "ers", "or", "ors", "by", "name")
_PERCENT = frozenset({"%", "percent", "pct"})
_OTHER_TEMPERATURES = {"celsius": {"f", "fahrenheit"}, "fahrenheit": {"c", "celsius"}}
_SIZES: dict[str, tuple[str, float]] = {
    unit: (kind, size)
    for kind, units in {
        "mass": {"mg": 0.001, "g": 1, "grams": 1, "kg": 1000, "kilograms": 1000, "t": 1e6, "lb": 453.59237, "lbs": 453.59237, "pounds": 453.59237},
        "length": {"mm": 0.001, "cm": 0.01, "m": 1, "meters": 1, "metres": 1, "km": 1000, "kilometers": 1000, "kilometres": 1000, "in": 0.0254, "inches": 0.0254, "ft": 0.3048, "feet": 0.3048, "mi": 1609.344, "miles": 1609.344},
    }.items()
    for unit, size in units.items()
}  # fmt: skip
"""Units of measurement: what they measure, and their size in grams or metres."""


class NoTemplateFits(Exception):
    """No template reads the question."""


def choose_column(columns: Sequence[ColumnFacts], wanted: str, direction: str = "") -> ColumnFacts | None:
    """Return the column among those that a word may mean which suits; None if none does, or several.

    ``wanted``: "number", "text", "group" (no measure if there is another), "who", "when", "where" or "any".
    """
    fits = [column for column in columns if _suits(column, wanted)]
    if direction and len(fits) > 1:
        names = _DIRECTION_NAMES[direction]
        fits = [column for column in fits if names & {*name_words(column.name)}] or fits
    return fits[0] if len(fits) == 1 else None


def _suits(column: ColumnFacts, wanted: str) -> bool:
    words = name_words(column.name)
    match wanted:
        case "number":
            return column.numeric and not column.unread
        case "text":
            return not column.numeric or column.role is ColumnRole.CATEGORY or "year" in words
        case "who":
            return not column.numeric and bool(words) and words[-1].endswith(_AGENTS)
        case "when":
            return (column.role is ColumnRole.DATE and not column.unread) or "year" in words
        case "where":
            return not column.numeric and bool(_PLACES & {*words})
        case _:
            return True


@frozen
class _Comparison:
    """Numbers and how something compares with them (None: it equals), from the link ``start`` up to ``end``."""

    cue: QuestionCue | None
    numbers: tuple[SchemaLink, ...]
    start: int
    end: int


class ConditionReader:
    """Takes the conditions out of the links of a question; ``rest`` is what they leave.

    Calling it returns the WHERE clause. ``limit``: how many rows a superlative asks for. ``names_key``: a value of the
    key is among the conditions; ``names_one_row``: no others, and one text.
    """

    def __init__(self, vocabulary: TableVocabulary, links: Sequence[SchemaLink]) -> None:
        """Raises ``NoTemplateFits`` if a number or a value has no column."""
        self._vocabulary = vocabulary
        self.rest = [*links]
        self.limit = 1
        self.assumptions: list[str] = []
        self.names_key = self.names_one_row = False
        self._conditions: list[str] = []
        self._compared: ColumnFacts | None = None
        self._take_limit()
        self._take_values()
        self._take_numbers()
        self._take_signs()
        self._take_months()
        self._take_truth_values()

    def __bool__(self) -> bool:
        return bool(self._conditions)

    @property
    def count(self) -> int:
        """How many conditions there are."""
        return len(self._conditions)

    def __call__(self) -> str:
        """Return " WHERE ..." or ""."""
        return f" WHERE {' AND '.join(self._conditions)}" if self._conditions else ""

    def add(self, condition: str) -> Self:
        """Add a condition. Raises ``NoTemplateFits`` for a second value of what has one already ("2019 and 2021")."""
        left, equals, _ = condition.partition(" = ")
        if equals and any(each != condition and each.startswith(f"{left} = ") for each in self._conditions):
            raise NoTemplateFits
        if condition not in self._conditions:
            self._conditions.append(condition)
        return self

    def add_number(self, column: ColumnFacts) -> Self:
        """Add the condition that a column holds a number if some of its cells hold texts, which SQLite sorts last."""
        return self.add(column.holds_number) if column.mixed else self

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def _take_limit(self) -> None:
        """Take the number of "top 5", "five largest" or "the 3 parks with the most trees"."""
        for at, link in enumerate(self.rest):
            number = link.words[0].number if link.kind is SchemaLinkKind.NUMBER and not link.unit else None
            after_top = at > 0 and self.rest[at - 1].cue is QuestionCue.TOP
            precedes_superlative = at + 1 < len(self.rest) and _is_superlative(self.rest[at + 1])
            if isinstance(number, int) and (after_top or precedes_superlative or self._counts_rows(at)):
                self.limit = number
                self.rest[at - after_top : at + 1] = [self._top_as_superlative(self.rest[at - 1])] if after_top else []
                return

    def _top_as_superlative(self, top: SchemaLink) -> SchemaLink:
        """Return "top" as the superlative of a question without another one, else as it is."""
        if any(map(_is_superlative, self.rest)):
            return top
        return replace(top, cue=QuestionCue.LOWEST if top.words[0].key == "bottom" else QuestionCue.HIGHEST)

    def _counts_rows(self, at: int) -> bool:
        """Whether the number of "which 3 parks have the most trees" says how many are asked for."""
        asks = at == 0 or self.rest[at - 1].cue in {QuestionCue.WHICH, QuestionCue.LIST}
        following = self.rest[at + 1 : at + 3]
        names = any(link.kind is SchemaLinkKind.ROWS or choose_column(link.columns, "text") for link in following)
        return asks and names and any(map(_is_superlative, self.rest[at + 2 :]))

    def _take_numbers(self) -> None:
        while (
            at := next((at for at, link in enumerate(self.rest) if link.kind is SchemaLinkKind.NUMBER), None)
        ) is not None:
            phrase = self._read_comparison(at)
            is_alone = phrase.end - phrase.start == 1
            if is_alone and (self._take_year_of_month(at) or self._take_day_of_month(at)):
                continue
            column, start, end = self._find_compared(phrase)
            unit = next((number.unit for number in phrase.numbers if number.unit), "")
            numbers = [_convert_unit(number, column, unit) for number in phrase.numbers]
            if unit and not _has_unit(column):
                self.assumptions.append(f"the numbers of {column.name} are taken to be in {unit}")
            del self.rest[start:end]
            self._compared = column
            self._compare(column, phrase.cue, numbers)

    def _read_comparison(self, at: int) -> _Comparison:
        """Return the comparison with a number: "over 5", "5 or more", "between 5 and 7", "5 to 7", or the number."""
        following = [*self.rest[at + 1 : at + 3], None, None]
        second = following[0] if following[0] is not None and following[0].kind is SchemaLinkKind.NUMBER else None
        if second is not None and second.before in _RANGE_WORDS:
            return _Comparison(QuestionCue.BETWEEN, (self.rest[at], second), at, at + 2)
        cue = self.rest[at - 1].cue if at else None
        if cue is QuestionCue.BETWEEN:
            if (
                following[0] is None
                or following[0].cue is not QuestionCue.AND
                or following[1] is None
                or following[1].kind is not SchemaLinkKind.NUMBER
            ):
                raise NoTemplateFits
            return _Comparison(cue, (self.rest[at], following[1]), at - 1, at + 3)
        if cue in _COMPARISONS:
            return _Comparison(cue, (self.rest[at],), at - 1, at + 1)
        if _is_other_number(following[0], following[1]) and following[1] is not None:
            return _Comparison(QuestionCue.OR, (self.rest[at], following[1]), at, at + 3)
        if following[0] is not None and following[0].cue in {QuestionCue.AT_LEAST, QuestionCue.AT_MOST}:
            return _Comparison(following[0].cue, (self.rest[at],), at, at + 2)
        return _Comparison(None, (self.rest[at],), at, at + 1)

    def _find_compared(self, phrase: _Comparison) -> tuple[ColumnFacts, int, int]:
        """Return the column that is compared, and the range of links that say so."""
        if phrase.numbers[0].words[0].is_date:
            return self._only_date(), self._date_start(phrase.start), phrase.end
        return self._find_graded(phrase) or self._find_extreme(phrase) or self._find_beside(phrase)

    def _find_graded(self, phrase: _Comparison) -> tuple[ColumnFacts, int, int] | None:
        """Return the column of "longer than 5", or of "a tail longer than 5"."""
        graded = self.rest[phrase.start].columns if phrase.cue is not None else ()
        before = self.rest[phrase.start - 1].columns if phrase.start else ()
        both = [column for column in before if column in graded]
        column = choose_column(both, "number") or choose_column(graded, "number")
        return None if column is None else (column, phrase.start - bool(both), phrase.end)

    def _find_extreme(self, phrase: _Comparison) -> tuple[ColumnFacts, int, int] | None:
        """Return the column of "maximum temperature above 30", where another one holds the minimum."""
        if phrase.start <= 1 or self.rest[phrase.start - 1].kind is not SchemaLinkKind.COLUMN:
            return None
        direction = _DIRECTION_OF.get(self.rest[phrase.start - 2].cue)
        columns = self.rest[phrase.start - 1].columns
        column = choose_column(columns, "number", direction) if direction and len(columns) > 1 else None
        return None if column is None else (column, phrase.start - 2, phrase.end)

    def _find_beside(self, phrase: _Comparison) -> tuple[ColumnFacts, int, int]:
        """Return the column before or after the number, or that of a year. Raises ``NoTemplateFits``."""
        number, start, end = phrase.numbers[0].words[0].number, phrase.start, phrase.end
        may_be_year = isinstance(number, int) and _FIRST_YEAR <= number <= _LAST_YEAR and not phrase.numbers[0].unit
        before, after = self._column_at(start - 1, is_year=may_be_year), self._column_at(end, is_year=may_be_year)
        is_counted = start > 1 and self.rest[start - 2].cue is QuestionCue.COUNT and after is not None
        if before is not None and not is_counted and not (may_be_year and phrase.cue in {None, QuestionCue.OR}):
            return before, start - 1, end
        word = phrase.numbers[0].before if phrase.cue in {None, QuestionCue.OR} else self.rest[start].words[0].key
        if may_be_year and (word in _OF_TIME or phrase.cue is QuestionCue.BETWEEN or after is None):
            return self._find_time(phrase, before)
        if after is not None:
            return after, start, end + 1
        if before is not None:
            return before, start - 1, end
        if (
            self._compared is not None
            and phrase.cue is not None
            and start
            and self.rest[start - 1].cue is QuestionCue.AND
        ):
            return self._compared, start - 1, end  # "over 5 and under 10"
        raise NoTemplateFits

    def _find_time(self, phrase: _Comparison, before: ColumnFacts | None) -> tuple[ColumnFacts, int, int]:
        """Return the column of dates or years: the one named before a year, or the only one."""
        times = self._vocabulary.time_columns()
        if before is not None and before in times:
            at = phrase.start - 1
            says_column = phrase.cue is not None or (self.rest[at].whole and not self._is_target(at))
            return before, phrase.start - says_column, phrase.end
        if len(times) != 1:
            raise NoTemplateFits
        return times[0], phrase.start, phrase.end

    def _column_at(self, at: int, *, is_year: bool) -> ColumnFacts | None:
        """Return the column of numbers that a link names, or of dates if a year may be compared with it."""
        if not 0 <= at < len(self.rest) or self.rest[at].kind is not SchemaLinkKind.COLUMN:
            return None
        number = choose_column(self.rest[at].columns, "number")
        return number or (choose_column(self.rest[at].columns, "when") if is_year else None)

    def _compare(self, column: ColumnFacts, comparison: QuestionCue | None, numbers: Sequence[str]) -> None:
        if column.role is ColumnRole.DATE:
            self._compare_dates(column, comparison, numbers)
        elif comparison is QuestionCue.BETWEEN:
            self.add_number(column).add(f"{column.quoted} BETWEEN {numbers[0]} AND {numbers[1]}")
        elif comparison is QuestionCue.OR:
            self.add(f"{column.quoted} IN ({', '.join(numbers)})")
        else:
            operator = _COMPARISONS[comparison or QuestionCue.EQUAL]
            if operator in {">", ">="}:  # texts are greater than numbers
                self.add_number(column)
            self.add(f"{column.quoted} {operator} {numbers[0]}")

    def _compare_dates(self, column: ColumnFacts, comparison: QuestionCue | None, dates: Sequence[str]) -> None:
        """Compare the first characters of dates, as many as the question has."""
        sample = self._vocabulary.date_separator(column)
        texts = [each.replace("-", sample).replace("/", sample) for each in dates]
        part = f"SUBSTR({column.quoted}, 1, {len(texts[0])})"
        quoted = [quote_text(text) for text in texts]
        if comparison is QuestionCue.BETWEEN:
            self.add(f"{part} BETWEEN {quoted[0]} AND {quoted[1]}")
        elif comparison is QuestionCue.OR:
            self.add(f"{part} IN ({', '.join(quoted)})")
        else:
            self.add(f"{part} {_COMPARISONS[comparison or QuestionCue.EQUAL]} {quoted[0]}")

    def _take_year_of_month(self, at: int) -> bool:
        """Take the number of "January 2013" or "January 3, 2013"; return whether it was one."""
        number = self.rest[at].words[0].number
        if not isinstance(number, int) or not _FIRST_YEAR <= number <= _LAST_YEAR:
            return False
        place = at - 1 - (at > 1 and self.rest[at - 1].kind is SchemaLinkKind.NUMBER)
        if place < 0 or self.rest[place].kind is not SchemaLinkKind.MONTH:
            return False
        self.add(f"SUBSTR({self._only_date().quoted}, 1, 4) = '{number}'")
        self.rest.pop(at)
        return True

    def _take_day_of_month(self, at: int) -> bool:
        """Take the number of "3 January" or "January 3"; return whether it was one."""
        number = self.rest[at].words[0].number
        beside = [self.rest[place] for place in (at - 1, at + 1) if 0 <= place < len(self.rest)]
        if (
            not isinstance(number, int)
            or not 1 <= number <= _LAST_DAY
            or all(link.kind is not SchemaLinkKind.MONTH for link in beside)
        ):
            return False
        self.add(f"SUBSTR({self._only_date().quoted}, 9, 2) = '{number:02}'")
        self.rest.pop(at)
        return True

    def _take_signs(self) -> None:
        """Take "negative" and "positive": of a column beside the word, or of the only one with both kinds."""
        while (
            at := next((at for at, link in enumerate(self.rest) if link.kind is SchemaLinkKind.SIGN), None)
        ) is not None:
            link = self.rest[at]
            beside = [
                each for place in (at - 1, at + 1) if 0 <= place < len(self.rest) for each in self.rest[place].columns
            ]
            columns = [column for column in link.columns if column in beside] or link.columns
            if len(columns) != 1:
                raise NoTemplateFits
            kind = "below" if link.direction == "<" else "above"
            self.assumptions.append(f'"{link.text}" is taken for {columns[0].name} {kind} 0')
            self.add_number(columns[0]).add(f"{columns[0].quoted} {link.direction} 0")
            self.rest.pop(at)
            for place in (at, at - 1):  # "a negative rating", "the rating is negative", "how many ratings are negative"
                if 0 <= place < len(self.rest) and columns[0] in self.rest[place].columns:
                    counted = place > 0 and self.rest[place - 1].cue is QuestionCue.COUNT
                    self.rest[place : place + 1] = (
                        [replace(link, kind=SchemaLinkKind.ROWS, columns=())] if counted else []
                    )
                    break

    def _take_months(self) -> None:
        while (
            at := next((at for at, link in enumerate(self.rest) if link.kind is SchemaLinkKind.MONTH), None)
        ) is not None:
            self.add(f"SUBSTR({self._only_date().quoted}, 6, 2) = '{MONTHS[self.rest[at].words[0].key]:02}'")
            del self.rest[self._date_start(at) : at + 1]

    def _date_start(self, at: int) -> int:
        """Return where the words for a date begin: with a column before it that is not asked for ("born in March")."""
        names_date = at > 0 and choose_column(self.rest[at - 1].columns, "when") is not None
        return at - 1 if names_date and not self._is_target(at - 1) else at

    def _only_date(self) -> ColumnFacts:
        dates = [each for each in self._vocabulary.time_columns() if each.role is ColumnRole.DATE]
        if len(dates) != 1:
            raise NoTemplateFits
        return dates[0]

    # ---- values ------------------------------------------------------------------------------------------------------

    def _take_values(self) -> None:
        chosen: dict[str, list[tuple[ValueMatch, bool]]] = {}
        ends = 0
        columns = [column for link in self.rest if link.kind is SchemaLinkKind.COLUMN for column in link.columns]
        values = [link for link in self.rest if link.kind is SchemaLinkKind.VALUE]
        for link in values:
            at = next(at for at, each in enumerate(self.rest) if each is link)
            if at and self.rest[at - 1].cue is QuestionCue.BY:  # "written by Anna"
                self.rest.pop(at - 1)
                at -= 1
            match = self._choose_match(link, columns, at)
            negated = at > 0 and self.rest[at - 1].cue is QuestionCue.NOT
            if match.column.name in chosen and not self._continues(at - negated, ends):
                raise NoTemplateFits  # "how many dogs are cats"
            ends = link.start + len(link.words)
            chosen.setdefault(match.column.name, []).append((match, negated))
            start = at - negated
            end = at + 1
            # "Dream island", "the year 2009", "species Adelie"
            if end < len(self.rest) and match.column in self.rest[end].columns and self.rest[end].whole:
                end += 1
            elif start and match.column in self.rest[start - 1].columns and not self._is_target(start - 1):
                start -= 1
            while (
                start
                and self.rest[start - 1].cue in {QuestionCue.AND, QuestionCue.OR}
                and len(chosen[match.column.name]) > 1
            ):
                start -= 1
            del self.rest[start:end]
        for matches in chosen.values():
            self._add_values(matches)
        key = self._vocabulary.key
        self.names_key = key is not None and key.name in chosen
        self.names_one_row = (
            self.names_key and key is not None and len(chosen[key.name]) == 1 and chosen[key.name][0][0].exact
        )

    def _continues(self, at: int, ends: int) -> bool:
        """Whether a value belongs to the one before, which ends there: "cats and dogs", "cats, dogs"."""
        is_joined = at > 0 and self.rest[at - 1].cue in {QuestionCue.AND, QuestionCue.OR}
        return is_joined or (at < len(self.rest) and self.rest[at].start == ends)

    def _is_target(self, at: int) -> bool:
        """Whether a column is what the question asks for."""
        return at == 0 or self.rest[at - 1].cue in {
            QuestionCue.WHICH,
            QuestionCue.LIST,
            QuestionCue.COUNT,
            QuestionCue.EACH,
            QuestionCue.BY,
            QuestionCue.DISTINCT,
        }

    def _choose_match(self, link: SchemaLink, named: Sequence[ColumnFacts], at: int) -> ValueMatch:
        """Return the column whose text is meant: one that the question names, the key, or the only one."""
        beside = [
            column for place in (at - 1, at + 1) if 0 <= place < len(self.rest) for column in self.rest[place].columns
        ]
        matches = link.values
        for columns in (beside, [self._vocabulary.key] if self._vocabulary.key else [], named):
            fits = [match for match in matches if match.column in columns]
            if fits and len(matches) > 1:
                if columns != beside:
                    others = ", ".join(match.column.name for match in matches if match is not fits[0])
                    self.assumptions.append(
                        f'"{link.text}" is looked for in {fits[0].column.name}; {others} has it, too'
                    )
                return fits[0]
        if len(matches) == 1:
            return matches[0]
        categories = [match for match in matches if match.column.role is ColumnRole.CATEGORY]
        if len(categories) == 1:
            return categories[0]
        raise NoTemplateFits

    def _add_values(self, matches: Sequence[tuple[ValueMatch, bool]]) -> None:
        column = matches[0][0].column.quoted
        if any(negated != matches[0][1] for _, negated in matches):
            raise NoTemplateFits
        negated = matches[0][1]
        patterns = [match for match, _ in matches if match.pattern and not match.exact]
        if patterns and len(matches) > 1:
            raise NoTemplateFits
        self.assumptions += [
            f'"{match.text}" is taken for {match.values[0]}' for match, _ in matches if match.exact and match.text
        ]
        self.assumptions += [
            f'"{match.values[0]}" is looked for, but not "{match.longer}"' for match, _ in matches if match.longer
        ]
        if not matches[0][0].exact:
            self.assumptions.append(
                f'"{matches[0][0].text}" is looked for within the texts of {matches[0][0].column.name}'
            )
        if patterns:
            self.add(f"{column} {'NOT ' * negated}LIKE {quote_text(f'%{patterns[0].pattern}%')}")
            return
        values = list(dict.fromkeys(value for match, _ in matches for value in match.values))
        if len(values) == 1:
            self.add(f"{column} {'<>' if negated else '='} {quote_text(values[0])}")
        else:
            self.add(f"{column} {'NOT ' * negated}IN ({', '.join(map(quote_text, values))})")

    def _describes(self, at: int) -> bool:
        """Whether rows or values are named after a column ("which paid orders")."""
        return at + 1 < len(self.rest) and self.rest[at + 1].kind in {SchemaLinkKind.ROWS, SchemaLinkKind.VALUE}

    def _take_truth_values(self) -> None:
        """Take the columns of truth values, and those that are to be empty."""
        for link in [link for link in self.rest if link.kind is SchemaLinkKind.COLUMN]:
            at = next(at for at, each in enumerate(self.rest) if each is link)
            negated = at > 0 and self.rest[at - 1].cue is QuestionCue.NOT
            column = link.columns[0] if len(link.columns) == 1 else None
            true = self._vocabulary.true_condition(column) if column is not None else None
            if column is None or (true is None and not negated):
                continue
            if true is None:
                self.add(self._is_missing(column))
            elif (
                at > 0
                and self.rest[at - 1].cue in {QuestionCue.WHICH, QuestionCue.EACH, QuestionCue.BY, QuestionCue.DISTINCT}
                and not self._describes(at)
            ):
                continue
            else:
                self.add(f"NOT {true}" if negated else true)
            del self.rest[at - negated : at + 1]

    def _is_missing(self, column: ColumnFacts) -> str:
        """Return the condition of "no children": the number is 0, or where no row has that, the cell is empty."""
        if not column.numeric or not column.low <= 0 <= column.high:
            return f"{column.quoted} IS NULL"
        if column.filled < len(self._vocabulary.table.rows) or column.low < 0 or column.mixed:
            raise NoTemplateFits
        return f"{column.quoted} = 0"


def _is_superlative(link: SchemaLink) -> bool:
    return link.kind is SchemaLinkKind.SUPERLATIVE or link.cue in {
        QuestionCue.HIGHEST,
        QuestionCue.LOWEST,
        QuestionCue.MOST,
        QuestionCue.LEAST,
    }


def _is_other_number(word: SchemaLink | None, number: SchemaLink | None) -> bool:
    """Whether "or 6" follows "4"."""
    return (
        word is not None and word.cue is QuestionCue.OR and number is not None and number.kind is SchemaLinkKind.NUMBER
    )


def _has_unit(column: ColumnFacts) -> bool:
    names = name_words(column.name)
    return len(names) > 1 and is_unit_name(names[-1])


def _convert_unit(link: SchemaLink, column: ColumnFacts, unit: str) -> str:
    """Return a number in the unit that the name of a column ends with.

    Raises ``NoTemplateFits`` if it measures otherwise.
    """
    word = link.words[0]
    if word.number is None:
        return word.key
    names = name_words(column.name)
    if unit in _PERCENT and 0 <= column.low <= column.high <= 1:
        raise NoTemplateFits  # 50% may be 0.5
    if names[-1:] and names[-1] in _OTHER_TEMPERATURES.get(unit, ()):
        raise NoTemplateFits
    if len(names) > 1 and unit in _SIZES and names[-1] in _SIZES:
        (kind, size), (own_kind, own_size) = _SIZES[unit], _SIZES[names[-1]]
        if kind != own_kind:
            raise NoTemplateFits
        return f"{word.number * size / own_size:.12g}" if size != own_size else f"{word.number}"
    return f"{word.number}"
