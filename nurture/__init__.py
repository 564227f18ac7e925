"""A self-hosted service that sends a series of letters to people who asked for them."""

__version__ = "0.1.0"
