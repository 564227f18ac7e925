"""Drafts, editions and images."""
