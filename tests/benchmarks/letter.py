"""The letter every program of the bench sends: 12 kB of HTML, 2 kB of text, four personal fields, a link to leave by."""

_LINE = '<p style="margin:0 0 16px;font-size:16px">Calm words of a letter, and nothing that hurries anybody who reads it.</p>\n'
HTML = (
    "<html><body><p>Hello {{ reader.first_name }}, you signed up on {{ reader.signed_up_on }}.</p>\n"
    + _LINE * 101
    + '<p>{{ practice.name }} · <a href="{{ links.unsubscribe }}">stop these letters</a></p></body></html>'
)
TEXT = (
    "Hello {{ reader.first_name }}, you signed up on {{ reader.signed_up_on }}.\n\n"
    + "Calm words of a letter, and nothing that hurries anybody.\n" * 33
    + "{{ practice.name }}\nStop: {{ links.unsubscribe }}\n"
)
SUBJECT = "Letter 1: where it came from"
WARM_UP = 20
"""Letters each program sends before its clock starts: imports, templates, statements and connections are made once."""
