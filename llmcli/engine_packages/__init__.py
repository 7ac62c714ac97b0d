"""Prebuilt libraries of llama.cpp from the npm registry: which there are, and installing them."""
