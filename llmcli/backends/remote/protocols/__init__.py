"""The protocols of servers elsewhere: how a request is written, and what an answer means."""
