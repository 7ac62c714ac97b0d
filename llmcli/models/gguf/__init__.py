"""Reading and checking the headers of GGUF files."""
