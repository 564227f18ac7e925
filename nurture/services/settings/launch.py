"""Whether the first run is over and letters go out to readers."""

from nurture.runtime import Runtime
from nurture.store.state import launch


def is_open(rt: Runtime) -> bool:
    """Whether letters leave, so that people may sign up."""
    if not rt.requires_launch:
        return True
    with rt.database.read_once() as db:
        return launch.since(db) is not None
