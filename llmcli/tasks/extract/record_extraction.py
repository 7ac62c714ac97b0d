"""extract over records: the values of each record's text become its new columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.documents.json_values import dump_value
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import ColumnType, Record
from llmcli.errors import UsageError
from llmcli.tasks.extract import estimate_extraction, extract_document
from llmcli.tasks.extract.extraction_plan import ExtractionPlan
from llmcli.tasks.extract.value_schema import LeafKind, LeafNode, ListNode, ObjectNode, ValueNode
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.work_estimate import WorkEstimate
from llmcli.types import ItemFailed, Result

_LEAF_TYPES = {
    LeafKind.TEXT: str,
    LeafKind.INTEGER: int,
    LeafKind.NUMBER: float,
    LeafKind.DATE: str,
    LeafKind.BOOLEAN: bool,
}
_COUNTS = ("records", "blank", "failed", "without_values", "rows")


def value_columns(schema: Mapping[str, Any], node: ObjectNode | None, *, free: bool) -> dict[str, ColumnType]:
    """Return the columns of the values of a schema with their types; the parameters are as in ``ExtractionPlan``.

    Raises ``UsageError`` for a schema that names no values.
    """
    if node is not None:
        types = {each.name: _type_of(each.node) for each in node.properties}
        # objects that the model writes freely may have more fields than the schema names
        return {
            name: object if kind is None or (free and not isinstance(kind, type)) else kind
            for name, kind in types.items()
        }
    names = schema.get("properties", {}) if schema.get("type") == "object" else {}
    if not names:
        words = "the schema is not that of an object with properties, which are the new columns"
        raise UsageError(words, detail="Try: --schema 'name, due (date)'")
    return dict.fromkeys(names, object)


def _type_of(node: ValueNode) -> ColumnType | None:
    """Return the type of a value, None if values of the same node may have several types."""
    if isinstance(node, ListNode):
        item = _type_of(node.item)
        return None if item is None else [item]
    if isinstance(node, LeafNode):
        kinds = {type(each) for each in node.choices if each is not None}
        return _LEAF_TYPES.get(node.kind) or (kinds.pop() if len(kinds) == 1 else None)
    inner = {each.name: _type_of(each.node) for each in node.properties}
    known = {name: kind for name, kind in inner.items() if kind is not None}
    return known if known and len(known) == len(inner) else None


class ExtractTask(RecordProcessor):
    """Takes the values of a plan from each record's text, as ``extract`` does from a document.

    With ``many``, a record has any number of ``rows``, otherwise one.
    """

    def __init__(self, plan: ExtractionPlan) -> None:
        self.columns: Mapping[str, ColumnType] = value_columns(plan.schema, plan.node, free=plan.free)
        self._plan = plan

    def estimate(self, record: Record) -> WorkEstimate:
        """Return the work for a record."""
        return estimate_extraction(self._plan, Document(record.name, record.text))

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the values of a record. Raises as ``extract_document`` does."""
        return await extract_document(run, self._plan, Document(record.name, record.text), source=record.name)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text, which has no values."""
        values = [] if self._plan.many else dict.fromkeys(self.columns)
        model = self._plan.backend.info().model
        return Result(record.index, record.name, None, {"values": values}, model=model, blank=True)

    def rows(self, result: Result) -> Sequence[Mapping[str, Any]]:
        """Return the values of each row of a result."""
        values = result.fields["values"]
        objects = values if self._plan.many else [values]
        return [{name: each.get(name) for name in self.columns} for each in objects]

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of the only row."""
        return self.rows(result)[0]

    def line(self, result: Result) -> str:
        """Return the values of each row as a line of JSON."""
        return "\n".join(map(dump_value, self.rows(result)))


class ValueSummary:
    """Counts the records of a run, those without any value, and the rows; ``many`` as in ``ExtractTask``."""

    def __init__(self, *, many: bool = False) -> None:
        self.many = many
        self.records = self.blank = self.failed = self.without_values = self.rows = 0

    def add(self, result: Result | ItemFailed) -> None:
        """Count a record."""
        self.records += 1
        if isinstance(result, ItemFailed):
            self.failed += 1
            return
        values = result.fields["values"]
        objects = values if self.many else [values]
        self.rows += len(objects)
        if result.blank:
            self.blank += 1
        else:
            self.without_values += not any(map(_has_value, objects))

    def to_state(self) -> dict[str, Any]:
        """Return the counts so far as JSON values."""
        return {"many": self.many, **{name: getattr(self, name) for name in _COUNTS}}

    def restore(self, state: Mapping[str, Any], *, forgets_failed: bool) -> None:
        """Continue from ``state``, {} for none; ``forgets_failed``: the records that failed will be counted again."""
        for name in _COUNTS:
            setattr(self, name, 0)
        self.add_state(state)
        if forgets_failed:
            self.records -= self.failed
            self.failed = 0

    def add_state(self, state: Mapping[str, Any]) -> None:
        """Add the counts of another run."""
        self.many = bool(state.get("many", self.many))
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + state.get(name, 0))


def _has_value(value: Any) -> bool:
    """Return whether a value is or contains anything but null."""
    if isinstance(value, dict | list):
        return any(map(_has_value, value.values() if isinstance(value, dict) else value))
    return value is not None
