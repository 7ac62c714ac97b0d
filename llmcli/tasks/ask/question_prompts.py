"""The names of the prompts of questions about documents."""

DOCUMENTS_PROMPT = "ask.documents"
PASSAGES_PROMPT = "ask.passages"
SQL_PROMPT = "ask.sql"
QUOTE_PROMPT = "ask.quote"
EXCERPT_PROMPT = "ask.excerpt"
