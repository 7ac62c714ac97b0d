"""The binding to llama.cpp: library, model, context, threads, memory, and checks that a model runs."""
