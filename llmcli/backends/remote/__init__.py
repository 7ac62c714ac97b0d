"""The backend for remote servers: vLLM, llama-server, Ollama, hosted services, ``llm serve``.

``protocols``: how they speak.
"""
