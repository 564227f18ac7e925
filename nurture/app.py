"""create_app(runtime) -> Flask: the pages, put together."""

from flask import Flask

from nurture.runtime import Runtime, shipped
from nurture.web import api, front_door, ops, pages, public, public_pages, token_pages, webhooks
from nurture.web.desk.accounts import account, accounts, api_keys, auth
from nurture.web.desk.letters import images, letters
from nurture.web.desk.operations import dashboard, statistics
from nurture.web.desk.sequences import schedule, simulation
from nurture.web.desk.settings import onboarding, sender_domain, settings
from nurture.web.desk.subscribers import bulk_actions, consultations, csv_import, detail, listing


def create_app(rt: Runtime) -> Flask:
    """The WSGI application over one runtime."""
    app = Flask("nurture", template_folder=str(shipped("")), static_folder="web/static", static_url_path="/static")
    app.extensions["nurture"] = rt
    front_door.prepare(app)
    pages.prepare(app)
    for blueprint in (
        public.pages,
        public_pages.pages,
        token_pages.pages,
        ops.pages,
        auth.pages,
        account.pages,
        accounts.pages,
        dashboard.pages,
        letters.pages,
        images.pages,
        listing.pages,
        bulk_actions.pages,
        csv_import.pages,
        detail.pages,
        consultations.pages,
        statistics.pages,
        schedule.pages,
        simulation.pages,
        settings.pages,
        sender_domain.pages,
        api_keys.pages,
        onboarding.pages,
        api.api,
        webhooks.webhooks,
    ):
        app.register_blueprint(blueprint)
    if open_routes := front_door.undeclared(app):
        raise RuntimeError(f"no policy is declared for {', '.join(open_routes)}: see nurture/web/front_door.py")
    return app
