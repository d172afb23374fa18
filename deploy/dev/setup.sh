#!/bin/sh
# Makes .venv with everything for development, the demo and the tests; nothing is done when it is up
# to date already. Needs Python 3.11 or newer; PYTHON names one that is not found by itself.
set -eu
cd "$(dirname "$0")/../.."
requirements=deploy/requirements/dev.txt
stamp=.venv/.up-to-date
wanted=$(cat "$requirements" pyproject.toml "$0" | cksum)

fail() {
  echo "setup: $1" >&2
  exit 3
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

if [ ! -x .venv/bin/python ] || ! new_enough .venv/bin/python; then
  python=
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if new_enough "$candidate"; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] ||
    fail "Python 3.11 or newer is needed and none was found; install it, or make PYTHON=/path/to/python3.11"
  echo "setup: making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv >/dev/null 2>&1 && .venv/bin/python -m pip --version >/dev/null 2>&1 || {
    rm -rf .venv
    fail "$python -m venv does not work here; its venv module comes with a package of its own on some systems (Debian: python3-venv)"
  }
fi

log=.venv/setup.log
total=$(grep -c '^[A-Za-z0-9].*==' "$requirements")
started=$(date +%s)
.venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
  --require-hashes -r "$requirements" >"$log" 2>&1 &
pip=$!
trap 'kill $pip 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
ticks=0
while kill -0 $pip 2>/dev/null; do
  sleep 1
  ticks=$((ticks + 1))
  [ $((ticks % 5)) -eq 0 ] || continue
  doing="downloaded $(grep -c -E '^(Collecting|Requirement already)' "$log" || true) of about $total packages"
  grep -q '^Installing collected' "$log" && doing="unpacking"
  echo "setup: $(($(date +%s) - started)) s, $doing"
done
wait $pip || {
  tail -n 15 "$log" >&2
  fail "pip could not install $requirements (whole log: $log); it needs the Python package index, or a mirror named in pip's own configuration"
}
.venv/bin/python -m pip install --disable-pip-version-check --no-input --quiet \
  --no-deps --no-build-isolation -e . >>"$log" 2>&1 || {
  tail -n 15 "$log" >&2
  fail "pip could not install this project (whole log: $log)"
}
echo "$wanted" >"$stamp"
echo "setup: .venv is ready after $(($(date +%s) - started)) s"
