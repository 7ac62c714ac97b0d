"""The user's data in SQLite files: saved chats and the translation memory."""
