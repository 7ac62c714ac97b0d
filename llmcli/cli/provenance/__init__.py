"""What an output was made of: recorded while a command runs, and read by ``llm verify``."""
