# syntax=docker/dockerfile:1
# The same commands as `make run`, without build tools in what is shipped.
FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /app/.venv && /app/.venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY nurture nurture
RUN /app/.venv/bin/pip install --no-deps --no-build-isolation --no-index -e . \
    && /app/.venv/bin/pip uninstall -y pip

FROM python:3.13-slim-bookworm
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NURTURE_INSTANCE_DIR=/data NURTURE_LISTEN=0.0.0.0:8000
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin nurture
WORKDIR /app
COPY --from=build /app /app
COPY templates templates
COPY wsgi.py ./
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["nurture", "serve"]
