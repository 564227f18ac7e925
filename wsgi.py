"""For WSGI servers: `gunicorn wsgi:app`. Each worker process ticks for itself; the ledger makes that safe."""

import atexit
import sys

from nurture import dispatch, runtime, scheduler, settings
from nurture.app import create_app
from nurture.delivery.safety_checks import record_clean_stop

for said in settings.unknown_variables():
    print(f"nurture: warning: {said}", file=sys.stderr)
_rt = runtime.build(settings.load())
app = create_app(_rt)
_here = dispatch.create_dispatcher(_rt)
atexit.register(record_clean_stop, _rt)  # the last one: what is registered later runs earlier
atexit.register(_here.close)
atexit.register(scheduler.stop, _rt, scheduler.start(_rt, _here.submit))
