"""generate, for records: a text of one kind for each record, whose columns are variables of the prompt."""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.backends.base import Backend
from llmcli.documents.records.record import TEXT_COLUMN, Record, Row, value_as_text
from llmcli.frozen_dataclass import replace
from llmcli.prompts import Prompt
from llmcli.tasks.generate import INPUT_VARIABLES, MAX_TOKENS
from llmcli.tasks.record_verbs.text_verb import TextVerb
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Result

COLUMN = "generated"


class GenerateVerb(TextVerb):
    """Writes a text for each record; the column is ``generated``.

    A variable of the prompt has the value of ``variables``, else that of the column with its name. The text of the
    record is the variable ``text`` or ``input``, if ``has_text`` says that it was chosen, or if it is a line.
    """

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        variables: Mapping[str, str],
        options: GenerationOptions,
        *,
        has_text: bool,
    ) -> None:
        super().__init__(backend, prompt.name, COLUMN)
        self._prompt = prompt
        self._variables = variables
        self._options = options
        self._has_text = has_text

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the answer. Raises ``EmptyAnswer``, the failure of a request, ``BadVariables`` and ``ContextOverflow``."""
        prompt, declared = self._prompt, self._prompt.variables
        columns = {name: value_as_text(record.fields[name]) for name in declared if name in record.fields}
        values: dict[str, object] = {**columns, **self._variables}
        taken = next((name for name in INPUT_VARIABLES if name in declared), None)
        is_line = tuple(record.fields) == (TEXT_COLUMN,)
        if taken is not None and taken not in self._variables and (self._has_text or is_line):
            values[taken] = record.text
        values["row"] = Row(record.fields)
        limit = max_answer_tokens(prompt, self._options, MAX_TOKENS)
        request = make_request(str(record.index), prompt.render(values), prompt, self._options, max_tokens=limit)
        if prompt.output != "text":
            request = replace(request, schema=prompt.schema, labels=prompt.labels)
        return await self.write(run, record, request, self._options)
