"""Choosing and building the backend of a command: worker launch, memory checks, remote consent, tuning."""
