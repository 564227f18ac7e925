"""Accounts of the desk and their sessions."""
