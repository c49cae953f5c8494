#!/bin/sh
# Sees to it that the image is here that ours are built from. Where it can't be pulled it is made, out of
# Debian's packages; that needs root.
#
#   tests/cluster/base_image.sh [IMAGE]       python:3.11-slim-bookworm by default
#
# The machine's own certificates go in, so that a build finds its package index behind a proxy too.
set -eu

image=${1:-python:3.11-slim-bookworm}
docker=${DOCKER:-docker}
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

if "$docker" image inspect "$image" >/dev/null 2>&1 || "$docker" pull --quiet "$image"; then
    exit 0
fi
if ! command -v debootstrap >/dev/null; then
    echo "error: there is no debootstrap: install Debian's package of that name" >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder"
cp "$certificates" "$folder/etc/ssl/certs/ca-certificates.crt"
# As the slim images: without what nobody reads in a container.
rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder"/var/log/* \
    "$folder"/usr/share/doc "$folder"/usr/share/info "$folder"/usr/share/locale "$folder"/usr/share/man
tar -C "$folder" --numeric-owner -c . | "$docker" import --change 'CMD ["python3"]' - "$image"
