"""Mail providers, one module each; no database."""
