"""The field's classic failure, run on purpose: four gunicorn workers, each with a scheduler of its own."""

import sys
import time
from pathlib import Path

from sqlalchemy import delete, func, select

from nurture import runtime
from nurture.domain.delivery import DeliveryKind, State
from nurture.store.core.schema import deliveries
from tests.conftest import settings_for
from tests.people import a_subscriber
from tests.processes import environment, free_port, running
from tests.servers.sendgrid import KEY, SendGridServer

LETTERS = 200


def test_four_workers_with_a_scheduler_each_send_every_letter_exactly_once(database_url: str, tmp_path: Path) -> None:
    rt = runtime.build(settings_for(tmp_path, database_url))
    for _ in range(LETTERS):
        a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(delete(deliveries).where(deliveries.c.kind != DeliveryKind.LETTER))
    port = free_port()
    with SendGridServer(latency=0.03) as server:
        env = environment(
            tmp_path, database_url=database_url, mailer="sendgrid", sendgrid_api_key=KEY, sendgrid_host=server.url,
            from_email="dana@example.org", postal_address="PO Box 12", tick_seconds=0.1, batch_size=10,
        )  # fmt: skip
        command = [sys.executable, "-m", "gunicorn", "-w", "4", "-k", "gthread", "--threads", "2", "-b", f"127.0.0.1:{port}"]
        with running([*command, "wsgi:app"], env, tmp_path / "log", f"http://127.0.0.1:{port}/healthz"):
            server.wait_for(LETTERS, timeout=60)
            until = time.monotonic() + 30
            while time.monotonic() < until:  # the last answers are being written down; then two seconds of idle ticks
                with rt.database.read() as db:
                    if db.scalar(select(func.count()).where(deliveries.c.state == State.ACCEPTED)) == LETTERS:
                        break
                time.sleep(0.05)
            time.sleep(2)
        assert len(server.accepted) == server.requests == LETTERS
        assert set(server.by_delivery().values()) == {1}
    with rt.database.read() as db:
        counted = db.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state)).all()
        states = {state: count for state, count in counted}  # noqa: C416 - rows, not tuples
        owners = db.execute(select(func.count(func.distinct(deliveries.c.owner)))).scalar_one()
    assert states == {State.ACCEPTED: LETTERS, State.SCHEDULED: LETTERS}, "each welcome sent, each next letter planned"
    assert owners > 1, "more than one process took part"
    rt.close()
