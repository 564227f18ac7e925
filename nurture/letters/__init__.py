"""Letter content: text in, text out; no database."""
