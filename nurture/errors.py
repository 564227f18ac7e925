"""The base of every error raised on purpose."""


class NurtureError(Exception):
    """Something we refuse on purpose. The message says what is wrong, which value, and what to do."""

    exit_code = 1
    """Of a command that ends with it: 1 failed, 2 wrong use or a missing setting."""
