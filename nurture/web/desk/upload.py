"""Forms that bring a file: only they may be larger than others, and nothing of the file outlives its request."""

from flask import Blueprint, request

from nurture.web.front_door import allow_file


def takes_a_file(pages: Blueprint, view: str, limit: int) -> None:
    """Let the form of one view of a blueprint bring a file of `limit` bytes."""
    endpoint = f"{pages.name}.{view}"
    allow_file(endpoint, limit)

    @pages.teardown_request
    def close_the_file(_: BaseException | None) -> None:
        """Whatever was answered: an upload is a file of this machine for a moment."""
        if request.endpoint == endpoint:
            request.close()
