"""Copies of a model in another type, made by llama.cpp's quantizer in a child process."""
