"""Prompt files: schema, finding (the user's directory before the built-in ones), rendering."""

from llmcli.templates.contracts import CONTRACTS, Contract, contract_of
from llmcli.templates.library import Library, Problem, PromptSummary
from llmcli.templates.schema import Prompt, PromptOptions, Variable

__all__ = [
    "CONTRACTS",
    "Contract",
    "Library",
    "Problem",
    "Prompt",
    "PromptOptions",
    "PromptSummary",
    "Variable",
    "contract_of",
]
