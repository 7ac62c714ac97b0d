"""One run without a terminal: settings, model, memory and context checks, consent, backend, tuning."""
