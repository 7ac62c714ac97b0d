"""The needs of a command: declared once, with the command, and read where weights and models are chosen."""

from __future__ import annotations

from llmcli.fast_dataclass import frozen


@frozen
class MachineNeeds:
    """The work of a command, as far as the machine has to suit it.

    ``labels``: its results are labels of records, which the same weights should give each time. ``is_question``: a
    short input means a short answer. ``drafts``: a draft model pays, since it writes. ``answer_tokens``: about how many
    it writes for each input, 0 if it only reads. ``translates``: what it writes is as long as what it reads.
    ``serves``: it answers many requests at once.
    """

    labels: bool = False
    is_question: bool = False
    drafts: bool = False
    answer_tokens: int = 256
    translates: bool = False
    serves: bool = False


UNKNOWN_WORK = MachineNeeds()
LABELS = MachineNeeds(labels=True, answer_tokens=0)
READING = MachineNeeds(answer_tokens=0)
QUESTION = MachineNeeds(is_question=True, drafts=True)
CHAT = MachineNeeds(is_question=True, drafts=True, answer_tokens=512)
WRITING = MachineNeeds(drafts=True)
SUMMARY = MachineNeeds(drafts=True, answer_tokens=512)
TRANSLATION = MachineNeeds(drafts=True, translates=True)
SERVER = MachineNeeds(drafts=True, serves=True)
