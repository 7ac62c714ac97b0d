"""The commands as ``llm --help`` lists them. Generated from their declarations by ``command_table_generator``."""

from typing import Any

Row = tuple[str, str, str, dict[str, Any]]
"""Name, line of help, area, and the other fields of a ``ListedCommand`` that are not as usual."""

ROWS: tuple[Row, ...] = (
    (
        "ask",
        "Answer a question, with or without documents.",
        "Language work",
        {"model_task": "chat", "also": "Indexes: llm index."},
    ),
    (
        "chat",
        "Chat with a model on the terminal.",
        "Language work",
        {"model_task": "chat", "also": "Saved chats: llm sessions."},
    ),
    (
        "translate",
        "Translate documents into another language.",
        "Language work",
        {"model_task": "translate", "also": "Its memory: llm tm."},
    ),
    (
        "summarize",
        "Summarize documents of any length.",
        "Language work",
        {"model_task": "summarize"},
    ),
    (
        "extract",
        "Take the values of a schema out of documents.",
        "Language work",
        {"model_task": "summarize"},
    ),
    (
        "generate",
        "Write an email, a story, ..., or a report of any length.",
        "Language work",
        {"model_task": "chat"},
    ),
    (
        "check",
        "Check each sentence of a text against documents.",
        "Language work",
        {"model_task": "classify", "also": "Runs: llm verify."},
    ),
    (
        "verify",
        "Check that an output and what it was made of are unchanged.",
        "Language work",
        {"listed": False},
    ),
    (
        "proofread",
        "List the words that look wrong, by how much they surprise the model.",
        "Language work",
        {"model_task": "chat", "listed": False},
    ),
    (
        "quiz",
        "Make questions about your own documents, and learn by them.",
        "Language work",
        {"is_group": True},
    ),
    (
        "command",
        "Write a shell command for a task. It is printed, never run.",
        "Language work",
        {"model_task": "chat", "listed": False},
    ),
    (
        "tokens",
        "Count the tokens of texts, files or records.",
        "Language work",
        {"model_task": "classify", "listed": False},
    ),
    (
        "redact",
        "Show what would be replaced before text is sent to a server.",
        "Language work",
        {"listed": False},
    ),
    (
        "index",
        "Index directories of documents, for llm ask and for search.",
        "Language work",
        {"is_group": True, "listed": False},
    ),
    (
        "tm",
        "List, export, import and remove translations: the translation memory.",
        "Language work",
        {"is_group": True, "listed": False},
    ),
    (
        "sentiment",
        "Label each line or record as positive, neutral or negative.",
        "Records",
        {"model_task": "classify"},
    ),
    (
        "classify",
        "Give each line or record one of your labels, with probabilities.",
        "Records",
        {"model_task": "classify"},
    ),
    (
        "filter",
        "Print the records for which a statement holds.",
        "Records",
        {"model_task": "classify", "also": "Bias: llm audit."},
    ),
    (
        "label",
        "Ask you for the labels that teach most.",
        "Records",
        {"model_task": "classify", "also": "Results: llm calibrations."},
    ),
    (
        "audit",
        "Check whether labels and answers change with the people in a text.",
        "Records",
        {"is_group": True, "listed": False},
    ),
    (
        "calibrations",
        "List, show and remove calibrations of classify, sentiment and filter.",
        "Records",
        {"is_group": True, "listed": False},
    ),
    (
        "merge",
        "Merge the outputs of --shard: a job on several machines.",
        "Records",
        {"listed": False},
    ),
    (
        "run-batch",
        "Answer the requests of a file in OpenAI's batch format.",
        "Records",
        {"model_task": "chat", "listed": False},
    ),
    (
        "embed",
        "Turn lines, records or files into vectors.",
        "Records",
        {"model_task": "classify", "listed": False},
    ),
    (
        "similar",
        "Find the lines, records or files that are nearest to a text in meaning.",
        "Records",
        {"model_task": "classify", "listed": False},
    ),
    (
        "models",
        "Find, download, list and remove models.",
        "Models and servers",
        {"is_group": True, "also": "The engine: llm engine."},
    ),
    (
        "engine",
        "List, install, choose and check the builds of llama.cpp, which runs models.",
        "Models and servers",
        {"is_group": True, "listed": False},
    ),
    (
        "backends",
        "List, add, test and remove remote servers.",
        "Models and servers",
        {"is_group": True, "also": "Their keys: llm keys."},
    ),
    (
        "keys",
        "Store the keys of hosted models.",
        "Models and servers",
        {"is_group": True, "listed": False},
    ),
    (
        "serve",
        "Serve your models over OpenAI's or Anthropic's protocol.",
        "Models and servers",
        {},
    ),
    (
        "worker",
        "List, stop and restart the processes that keep models loaded.",
        "Models and servers",
        {"is_group": True, "listed": False},
    ),
    (
        "sessions",
        "List, show, search, export, fork and remove saved chats.",
        "Housekeeping",
        {"is_group": True, "listed": False},
    ),
    (
        "logs",
        "List, show, search, export, repeat and remove kept answers.",
        "Housekeeping",
        {"is_group": True, "listed": False},
    ),
    (
        "prompts",
        "List, show, edit and check prompts.",
        "Housekeeping",
        {"is_group": True, "listed": False},
    ),
    (
        "config",
        "Show and edit the settings.",
        "Housekeeping",
        {"is_group": True},
    ),
    (
        "doctor",
        "Report what this machine can run and what is wrong.",
        "Housekeeping",
        {},
    ),
    (
        "completion",
        "Print the completion script for a shell.",
        "Housekeeping",
        {"listed": False},
    ),
    (
        "help",
        "Show the help of a command, or a page of the documentation.",
        "Housekeeping",
        {"listed": False},
    ),
)
