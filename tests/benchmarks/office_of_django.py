"""django-post-office with anymail's SendGrid backend, in a virtual environment of its own (peers.lock): queue, then send.

build/peers/bin/python tests/benchmarks/office_of_django.py URL KEY WARM_UP COUNT ENGINE DATABASE HOST < letter as JSON
"""

import json
import sys
import time
import warnings


def main(url: str, key: str, warm_up: int, count: int, engine: str, database: str, host: str) -> dict[str, float]:
    """Seconds and CPU seconds to queue `count` letters from a template and to send them: ours writes the next row in its time
    too. `sending`: the seconds of the second half alone. `engine`: sqlite3 or postgresql; `host`: the folder of its socket.
    """
    warnings.simplefilter("ignore")
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "post_office"], USE_TZ=True, SECRET_KEY="x",
        DATABASES={"default": {"ENGINE": f"django.db.backends.{engine}", "NAME": database, "HOST": host, "USER": "postgres"}},
        TEMPLATES=[{"BACKEND": "post_office.template.backends.post_office.PostOfficeTemplates", "APP_DIRS": True, "DIRS": [],
                    "NAME": "post_office", "OPTIONS": {"context_processors": []}},
                   {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        EMAIL_BACKEND="post_office.EmailBackend", LOGGING_CONFIG=None, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        POST_OFFICE={"BACKENDS": {"default": "anymail.backends.sendgrid.EmailBackend"}, "BATCH_SIZE": 500,
                     "THREADS_PER_PROCESS": 1, "LOG_LEVEL": 0, "TEMPLATE_ENGINE": "post_office"},
        ANYMAIL={"SENDGRID_API_KEY": key, "SENDGRID_API_URL": url + "/v3/"},
    )  # fmt: skip
    django.setup()
    from django.core.management import call_command
    from post_office import mail
    from post_office.models import EmailTemplate

    call_command("migrate", verbosity=0)
    letter = json.load(sys.stdin)
    template = EmailTemplate.objects.create(
        name="letter", subject=letter["subject"], content=letter["text"], html_content=letter["html"]
    )

    def queue(numbers: range) -> None:
        mail.send_many([
            {"sender": "dana@example.org", "recipients": [f"reader{number}@example.org"], "template": template,
             "render_on_delivery": True,
             "headers": {"List-Unsubscribe": f"<https://letters.example.org/unsubscribe/{number:064x}>",
                         "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
             "context": {"reader": {"first_name": "Robin", "signed_up_on": "2 March 2026"}, "practice": {"name": "Dana"},
                         "links": {"unsubscribe": f"https://letters.example.org/unsubscribe/{number:064x}"}}}
            for number in numbers
        ])  # fmt: skip

    def send(wanted: int) -> None:
        sent = 0
        while sent < wanted:
            more, failed, _ = mail.send_queued(processes=1)
            if failed or not more:
                raise RuntimeError(f"{sent + more} of {wanted} sent")
            sent += more

    queue(range(warm_up))
    send(warm_up)
    begin, cpu = time.perf_counter(), time.process_time()
    queue(range(warm_up, warm_up + count))
    queued = time.perf_counter()
    send(count)
    end = time.perf_counter()
    return {"seconds": end - begin, "sending": end - queued, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:8])))
