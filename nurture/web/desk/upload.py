"""Forms that bring a file: only they may be larger than others, and nothing of the file outlives its request."""

from flask import Blueprint, request

_FORM_BYTES = 64 * 1024
"""For the fields beside the file."""


def takes_a_file(pages: Blueprint, view: str, most: int) -> None:
    """Let the form of one view of a blueprint bring a file of `most` bytes. To be said before anything reads the form."""
    endpoint = f"{pages.name}.{view}"

    @pages.before_request
    def allow_a_file() -> None:
        if request.endpoint == endpoint:
            request.max_content_length = most + _FORM_BYTES
            request.max_form_memory_size = 4 * _FORM_BYTES  # it is read in pieces of 64 kB; what is left of one counts too

    @pages.teardown_request
    def close_the_file(_: BaseException | None) -> None:
        """Whatever was answered: an upload is a file of this machine for a moment."""
        if request.endpoint == endpoint:
            request.close()
