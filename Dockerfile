# The image of one deployable; its room says which:
#   docker build --build-arg ROOM=services/classifier -t inference-mesh/classifier .
# `make images` builds each with its version and its labels; docs/images.md has every argument.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# What builds. None of it is in an image.
FROM ${PYTHON_IMAGE} AS tools
# Where packages come from, if not from PyPI.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
# The certificates of the base image, so that it builds behind a proxy too.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    UV_SYSTEM_CERTS=1 \
    UV_NO_CACHE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    NO_COLOR=1
COPY cli/requirements-tools.txt cli/requirements-sbom.txt /tools/
RUN python3 -m venv /tools/uv \
    && /tools/uv/bin/pip install --no-cache-dir --require-hashes -r /tools/requirements-tools.txt \
    && /tools/uv/bin/uv venv --python python3 /tools/sbom \
    && /tools/uv/bin/uv pip install --python /tools/sbom/bin/python --require-hashes \
        -r /tools/requirements-sbom.txt

FROM tools AS build
ARG ROOM
# cpu or gpu: which of the room's requirements are installed, and nothing else.
ARG ACCELERATOR=cpu
# Compiled once, since nothing can be written when it runs. By content: a layer may lose dates.
ENV UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=CHECKED_HASH
WORKDIR /src
COPY ${ROOM}/requirements-image-${ACCELERATOR}.txt requirements.txt
RUN /tools/uv/bin/uv venv --python python3 /app \
    && /tools/uv/bin/uv pip sync --python /app/bin/python --require-hashes requirements.txt \
    # Tests of the packages, a twentieth of the image.
    && find /app/lib -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf /app/lib/python3*/site-packages/onnx/backend/test
COPY protos protos
COPY meshkit meshkit
COPY cli cli
COPY ${ROOM} ${ROOM}
# The rooms are several words.
# hadolint ignore=SC2086
RUN rooms="$(PYTHONPATH=cli/src python3 -m mesh_cli.image_build rooms "${ROOM}")" \
    && /tools/uv/bin/uv pip install --python /app/bin/python --no-deps \
        --build-constraints cli/requirements-build.txt --require-build-hashes \
        --preview-features build-dependency-hashes ${rooms} \
    && PYTHONPATH=cli/src python3 -m mesh_cli.image_build programs "${ROOM}" /app/bin \
    && /tools/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /app/sbom.cdx.json /app/bin/python

FROM ${PYTHON_IMAGE}
# What installs packages has no use in an image that is never written to.
RUN find / -xdev \( -path '*/site-packages/pip*' -o -path '*/site-packages/setuptools*' \
        -o -path '*/site-packages/wheel*' -o -path '*/site-packages/pkg_resources*' \
        -o -path '*/python3*/ensurepip' -o -path '/usr/share/python-wheels' \
        -o -path '/usr/local/bin/pip*' \) -prune -exec rm -rf {} + \
    && install -d -o 10001 -g 10001 /models
# Debian's packages that the room's pyproject.toml asks for, with its reasons; most ask for none.
ARG SYSTEM_PACKAGES
# Their versions are the base's, which is mended with Debian; the names are several words.
# hadolint ignore=DL3008,SC2086
RUN if [ -n "${SYSTEM_PACKAGES}" ]; then \
        apt-get update -qq \
        && apt-get install -y -qq --no-install-recommends ${SYSTEM_PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /app /app
ENV PATH=/app/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    # ONNX Runtime reports its use to its makers where nothing says otherwise.
    ORT_DISABLE_TELEMETRY=1 \
    # The user has no home and no name, and libraries that keep a cache ask for both.
    HOME=/tmp \
    LOGNAME=mesh \
    MESH_BIND_ADDRESS=0.0.0.0 \
    MESH_STATE_PATH=/tmp/mesh
ARG PYTHON_IMAGE
ARG TITLE=inference-mesh
ARG DESCRIPTION="A process of Inference Mesh"
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="${TITLE}" \
    org.opencontainers.image.description="${DESCRIPTION}" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
USER 10001:10001
ENTRYPOINT ["/app/bin/serve"]
