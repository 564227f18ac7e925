# syntax=docker/dockerfile:1
# The same commands as `make run`, with nothing that installs or builds in what is shipped.
# The tag follows Python's and Debian's security fixes; for a build that repeats, give PYTHON_IMAGE a digest.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
WORKDIR /app
RUN python -m venv --without-pip .venv
COPY requirements.lock ./
RUN pip --python .venv/bin/python install --require-hashes -r requirements.lock
COPY wsgi.py ./
COPY pyproject.toml README.md LICENSE /source/
COPY nurture /source/nurture
COPY templates /source/templates
# As a wheel, which carries templates, static files and migrations; what builds it is in the lock.
RUN pip --python .venv/bin/python install --no-deps --no-build-isolation --no-index /source \
    && .venv/bin/python -m compileall -q wsgi.py

FROM ${PYTHON_IMAGE}
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NURTURE_INSTANCE_DIR=/data NURTURE_LISTEN=0.0.0.0:8000
RUN groupadd --gid 10001 nurture \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin nurture \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && pip uninstall -y -q --root-user-action=ignore pip
WORKDIR /app
COPY --from=build /app /app
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["nurture", "serve"]
