"""Private values: detectors find them, placeholders replace them before text is sent, and the answer gets them back."""
