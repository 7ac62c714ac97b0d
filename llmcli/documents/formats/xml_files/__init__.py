"""Formats of messages in XML: XLIFF, Android, Apple, .NET and Qt."""
