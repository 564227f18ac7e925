"""create_app(runtime) -> Flask: the pages, put together."""

from flask import Flask

from nurture.runtime import Runtime, shipped
from nurture.web import api, front_door, ops, pages, public, reading, subscriber, webhooks
from nurture.web.desk import (
    access,
    account,
    dashboard,
    domain,
    entry,
    importing,
    keys,
    letters,
    many,
    numbers,
    people,
    person,
    pictures,
    requests,
    sequence,
    settings,
    simulator,
    start,
)


def create_app(rt: Runtime) -> Flask:
    """The WSGI application over one runtime."""
    app = Flask("nurture", template_folder=str(shipped("")), static_folder="web/static", static_url_path="/static")
    app.extensions["nurture"] = rt
    front_door.prepare(app)
    pages.prepare(app)
    for blueprint in (
        public.pages, reading.pages, subscriber.pages, ops.pages, entry.pages, account.pages, access.pages, dashboard.pages,
        letters.pages, pictures.pages, people.pages, many.pages, importing.pages, person.pages, requests.pages, numbers.pages,
        sequence.pages, simulator.pages, settings.pages, domain.pages, keys.pages, start.pages,
        api.api, webhooks.webhooks,
    ):  # fmt: skip
        app.register_blueprint(blueprint)
    if open_routes := front_door.undeclared(app):
        raise RuntimeError(f"no policy is declared for {', '.join(open_routes)}: see nurture/web/front_door.py")
    return app
