"""What ``tasks/translate.py`` is made of: marks for what must not change, checks, glossaries, tries, reports."""
