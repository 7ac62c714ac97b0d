"""The backend for remote servers with OpenAI's protocol: vLLM, llama-server, Ollama, hosted services, ``llm serve``."""
