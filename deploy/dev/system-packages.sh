#!/bin/sh
# Installs the system packages named as arguments where apt-get and root are at hand, and says what
# is missing elsewhere. Nothing here is required: without espeak-ng the offline voice is tones, and
# without PostgreSQL, Redis or promtool (of the package prometheus) their tests are skipped. None of
# their services is started.
set -eu

present() {
  case $1 in
    prometheus) command -v promtool ;;
    postgresql) command -v postgres || ls /usr/lib/postgresql/*/bin/postgres ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

missing=
for package in "$@"; do
  present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  log=$(mktemp)
  policy=/usr/sbin/policy-rc.d # asked by Debian's packages before they start a service
  if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; fi
  trap 'rm -f "$log" $policy' EXIT
  echo "system packages: installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  if { apt-get update && apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    exit 0
  fi
  tail -n 5 "$log" >&2
fi
echo "system packages: going on without$missing (as root on Debian: apt-get install$missing)" >&2
