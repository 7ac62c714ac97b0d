"""What llm keeps for the user in SQLite files."""
