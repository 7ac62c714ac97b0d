"""The parts of ``tasks/translate.py``: languages, glossaries, the translator's requests, segments and files."""
