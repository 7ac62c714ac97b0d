"""The parts of ``tasks/translate.py``: languages, glossaries, requests, segments and files."""
