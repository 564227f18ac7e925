"""For WSGI servers: `gunicorn wsgi:app`. Each worker process ticks for itself; the ledger makes that safe."""

import atexit

from nurture import fleet, runtime, scheduler, settings
from nurture.app import create_app

_rt = runtime.build(settings.load())
app = create_app(_rt)
_here = fleet.join(_rt)
atexit.register(_here.close)
atexit.register(scheduler.stop, _rt, scheduler.start(_rt, _here.submit))
