#!/bin/sh
# Makes .venv hold exactly what a lock file names, and does nothing when it already does.
#
#   scripts/bootstrap.sh runtime   what the daemons need (requirements.lock)
#   scripts/bootstrap.sh dev       and what tests, linters and research need (requirements-dev.lock)
#
# Needs Python 3.11 or newer and a way to reach a package index; neither root nor an existing uv. PYTHON names
# another interpreter. Every package is held against the hash in the lock.
set -eu

cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=.venv
oldest=3.11

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

case "${1:-}" in
  runtime) lock=requirements.lock ;;
  dev) lock=requirements-dev.lock ;;
  *) die "expected 'runtime' or 'dev', got '${1:-}'" ;;
esac
kind=$1
stamp=$venv/.njord-$kind
key="$root $(cat "$lock" pyproject.toml scripts/bootstrap.sh | cksum)"

runs() { "$1" -c '' >/dev/null 2>&1; }
recent() { "$1" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; }
version() { "$1" -c 'import platform; print(platform.python_version())'; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && runs $venv/bin/python; then
  exit 0
fi

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    recent "$PYTHON" || die "PYTHON=$PYTHON: expected Python $oldest or newer that runs, got" \
      "$(version "$PYTHON" 2>/dev/null || echo 'none')."
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do
    if recent "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  die "expected Python $oldest or newer on the PATH, got $(version python3 2>/dev/null || echo 'none')." \
    "Install one, or name it: make PYTHON=/path/to/python3.11 …"
}

create_venv() {
  python=$(find_python)
  say "Creating $venv with Python $(version "$python")"
  if "$python" -m venv --clear $venv 2>/dev/null; then
    return
  fi
  # Debian keeps the part of venv that brings pip in a package of its own. An installer from elsewhere will do.
  if command -v uv >/dev/null 2>&1 || "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear --without-pip $venv && return
  fi
  rm -rf $venv
  die "$python ($(version "$python")) has neither venv with pip, nor pip, nor is there a uv on the PATH." \
    "On Debian and Ubuntu: apt install python3-venv. Elsewhere: any Python $oldest+ that comes with pip, by PYTHON=…"
}

made_elsewhere() { [ -f $venv/.njord-root ] && [ "$(cat $venv/.njord-root)" != "$root" ]; }
if [ ! -x $venv/bin/python ] || ! recent $venv/bin/python || made_elsewhere; then
  create_venv
fi
printf '%s\n' "$root" >$venv/.njord-root
rm -f "$stamp"

pip() {
  if $venv/bin/python -m pip --version >/dev/null 2>&1; then
    $venv/bin/python -m pip "$@"
  else
    "$(find_python)" -m pip --python $venv/bin/python "$@"
  fi
}

# uv installs in seconds what takes pip a minute or more. Where it cannot be had, pip does the same.
if [ ! -x $venv/bin/uv ]; then
  awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$lock" >$venv/uv.lock
  pip install -q --require-hashes --no-deps --only-binary :all: -r $venv/uv.lock >/dev/null 2>&1 || true
fi
uv=$venv/bin/uv
[ -x $uv ] || uv=$(command -v uv || true)

install() {
  if [ -n "$uv" ] && "$uv" pip install -q --python $venv/bin/python "$@"; then
    return
  fi
  [ -z "$uv" ] || say "uv could not install; trying pip"
  pip install -q "$@"
}

say "Installing what $lock names"
install --require-hashes -r "$lock"
install --no-deps --no-build-isolation -e .

printf '%s\n' "$key" >"$stamp"
[ "$kind" = runtime ] || {
  key="$root $(cat requirements.lock pyproject.toml scripts/bootstrap.sh | cksum)"
  printf '%s\n' "$key" >$venv/.njord-runtime
}
say "$venv is ready"
