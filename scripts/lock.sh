#!/bin/sh
# Renews the lock files from pyproject.toml; with --upgrade to the newest versions that it allows. They pin every
# package with its hashes for every supported Python and name no address: where packages come from is the
# installing machine's business.
set -eu

cd "$(dirname "$0")/.."
compile() {
  .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet "$@"
}
# Everything first; the runtime is then a subset at the same versions.
compile "$@" --all-extras -o requirements-dev.lock
compile --upgrade --extra build -c requirements-dev.lock -o requirements.lock

if grep -n '://' requirements.lock requirements-dev.lock; then
  echo "error: a lock file names an address (above); remove the direct reference from pyproject.toml" >&2
  exit 1
fi
