"""Events a second: signed bundles of 1,000 known deliveries, POSTed to a real `nurture serve`.

python -m tests.benchmarks.reports DATABASE FOLDER COUNT
"""

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select, update

from nurture.domain.delivery import State
from nurture.ids import new_id
from nurture.store.core.schema import deliveries
from tests.benchmarks.ours import analyze, build, crowd
from tests.processes import NURTURE, environment, free_port, running
from tests.servers.sendgrid_events import Signer, entry, send_events

_BUNDLE = 1_000


def main(database: str, folder: Path, count: int) -> dict[str, float]:
    """Seconds for `count` first reports (`delivered`, each settles a delivery), from the first POST to the last answer."""
    rt = build("http://127.0.0.1:9", database, 4, folder)
    crowd(rt, count)
    with rt.database.begin() as db:
        db.execute(update(deliveries).values(state=State.ACCEPTED, accepted_at=rt.clock.now(), sending_at=rt.clock.real_now()))
        ids = list(db.scalars(select(deliveries.c.id)))
    analyze(rt)
    rt.close()
    signer, port = Signer(), free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(
        folder, database_url=database, listen=f"127.0.0.1:{port}", base_url=url, sendgrid_webhook_key=signer.public
    )
    bundles = [
        [entry("delivered", sg_message_id=new_id(), email="reader@example.org", nurture_delivery_id=each) for each in part]
        for part in (ids[start : start + _BUNDLE] for start in range(0, len(ids), _BUNDLE))
    ]
    with running([*NURTURE, "serve", "--no-scheduler"], env, folder / "log", url + "/healthz"):
        begin = time.perf_counter()
        for bundle in bundles:
            if send_events(url + "/webhooks/sendgrid/events", bundle, signer, timeout=60).status != 204:
                raise RuntimeError("a bundle was refused")
        seconds = time.perf_counter() - begin
    with closing(build("http://127.0.0.1:9", database, 4, folder)) as rt, rt.database.read() as db:
        settled = db.scalar(select(func.count()).select_from(deliveries).where(deliveries.c.state == State.DELIVERED))
    if settled != count:
        raise RuntimeError(f"{settled} of {count} settled")
    return {"seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
