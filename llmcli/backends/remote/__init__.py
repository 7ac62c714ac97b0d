"""Servers elsewhere that speak OpenAI's protocol, as a backend: vLLM, llama-server, Ollama, hosted ones, our own."""
