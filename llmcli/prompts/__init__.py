"""Prompt files: schema, lookup (the user's directory before the built-in ones), rendering."""

from llmcli.prompts.contracts import Contract, contract_of, register_contract
from llmcli.prompts.prompt_file import Prompt, PromptOptions, Variable
from llmcli.prompts.prompt_library import PromptLibrary, PromptSummary
from llmcli.prompts.prompt_parser import PromptProblem

__all__ = [
    "Contract",
    "Prompt",
    "PromptLibrary",
    "PromptOptions",
    "PromptProblem",
    "PromptSummary",
    "Variable",
    "contract_of",
    "register_contract",
]
