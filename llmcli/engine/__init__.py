"""The engine on llama.cpp's low-level API. The only importer of llama_cpp."""
