"""CARRIES. One file a provider; no database."""
