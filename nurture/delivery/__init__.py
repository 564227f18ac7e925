"""THE POST OFFICE. One file per stage of a delivery's life; knows no web, no Flask, no Celery."""
