"""CONTENT. Text in, text out; no database."""
