# The image of one serving room:
#   docker build --build-arg ROOM=services/classifier --build-arg MODULE=mesh_classifier -t inference-mesh/classifier .
# Its requirements are the compiled ones, with their hashes; the rooms themselves go in without dependencies.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG ROOM
ARG MODULE
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir uv==0.13.9
# The certificates of the image, so that it builds behind a proxy too.
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy UV_SYSTEM_CERTS=1
WORKDIR /src
COPY ${ROOM}/requirements.txt ${ROOM}/requirements.txt
RUN /tools/bin/uv venv --python python3 /app \
    && /tools/bin/uv pip install --python /app/bin/python --require-hashes -r ${ROOM}/requirements.txt
COPY protos protos
COPY meshkit meshkit
COPY ${ROOM} ${ROOM}
RUN /tools/bin/uv pip install --python /app/bin/python --no-deps ./protos ./meshkit ./${ROOM} \
    && printf '#!/bin/sh\nexec /app/bin/python -m %s\n' "${MODULE}" > /app/bin/serve \
    && chmod 0755 /app/bin/serve

FROM ${PYTHON_IMAGE}
COPY --from=build /app /app
# Nothing is written at run time, so the root file system may be read-only.
ENV PYTHONDONTWRITEBYTECODE=1 MESH_BIND_ADDRESS=0.0.0.0
USER 10001:10001
ENTRYPOINT ["/app/bin/serve"]
