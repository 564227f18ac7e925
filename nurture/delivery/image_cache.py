"""The pictures of letters that are going out: read once in a process, not for each mail, and only so many are kept."""

from collections.abc import Iterable

from sqlalchemy import Connection

from nurture.domain.picture import content_id, shown_in
from nurture.ids import ImageId
from nurture.mailers.base import InlineImage
from nurture.runtime import Runtime
from nurture.store.letters import images

MOST_KEPT = 8_000_000
"""Bytes of pictures a process remembers, besides those of the mails in its hands."""


def load_images(rt: Runtime, db: Connection, pages: Iterable[str]) -> dict[ImageId, InlineImage]:
    """Every picture that finished pages show. One that is gone is left out."""
    wanted = {picture for page in pages for picture in shown_in(page)}
    if not wanted:
        return {}
    cache = rt.process_state.image_cache
    with rt.process_state.image_cache_lock:
        found = {picture: cache[picture] for picture in wanted if picture in cache}
        for picture, (content, subtype) in images.contents(db, wanted - found.keys()).items():
            found[picture] = InlineImage(content, subtype, content_id(picture))
        for picture, known in found.items():
            cache[picture] = known
            cache.move_to_end(picture)
        kept = sum(len(known.content) for known in cache.values())
        while kept > MOST_KEPT:
            kept -= len(cache.popitem(last=False)[1].content)
    return found
