"""The protocol of OpenAI's HTTP API: request fields, responses, tool calls and errors."""
