"""The path of a delivery, one module for each stage; no web, no Flask, no Celery."""
