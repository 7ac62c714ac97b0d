"""Prompt files: schema, lookup (the user's directory before the built-in ones), rendering."""

from llmcli.prompts.prompt_file import Prompt, PromptOptions, Variable
from llmcli.prompts.prompt_library import PromptLibrary, PromptSummary

__all__ = ["Prompt", "PromptLibrary", "PromptOptions", "PromptSummary", "Variable"]
