# The console (clients/console): RPCs over HTTP, the graph view, MCP. From the root of the checkout:
#   docker build -f deploy/docker/console.Dockerfile -t brain2-console .
# The base images can be given by digest, as the workflow `images` does (see deploy/docker/Dockerfile). The image needs no
# root, and writes to /tmp alone, where an export waits until it is whole: run it with --read-only --tmpfs /tmp --cap-drop ALL
# --user 65532:65532.
ARG PYTHON_IMAGE=python:3.11-slim
ARG NODE_IMAGE=node:22-slim

# On the machine that builds, whatever the image is for: the bundle is the same everywhere.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS view
WORKDIR /view
COPY clients/console/view/package.json clients/console/view/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
COPY clients/console/view ./
RUN npm run --silent build

FROM ${PYTHON_IMAGE} AS build
COPY requirements/console.txt /build/requirements.txt
# Only wheels: an image must not depend on a compiler, nor run the build scripts of others.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
    --only-binary :all: -r /build/requirements.txt
COPY LICENSE /app/
COPY protos /app/protos
COPY clients/__init__.py /app/clients/
COPY clients/python /app/clients/python
COPY clients/export /app/clients/export
COPY clients/mcp /app/clients/mcp
COPY clients/console/*.py clients/console/openapi.json /app/clients/console/
COPY --from=view /view/dist /app/clients/console/view/dist
# Compiled here, since nothing can be written there.
RUN python -m compileall -q -j 0 /app /venv

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="brain2-console" \
      org.opencontainers.image.description="HTTP, graph view and MCP of Brain2, the backend of a second brain" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /venv /venv
COPY --from=build /app /app
# On this address the console starts only with a certificate or with BRAIN2_INSECURE=1: docs/clients.md.
ENV PATH="/venv/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRAIN2_CONSOLE_LISTEN=0.0.0.0:50080
WORKDIR /app
USER 65532:65532
EXPOSE 50080
# checkov:skip=CKV_DOCKER_2:Kubernetes asks /healthz itself
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "clients.console"]
