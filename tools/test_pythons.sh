#!/usr/bin/env bash
# Run a selection of the quick tests on other versions of Python, each in a copy of this folder with environments of its own:
#   tools/test_pythons.sh [PYTHON...]
# The selection loads and serves releases, calls the statistics and the gate, and runs every part that depends on a library's version.
set -euo pipefail
cd "$(dirname "$0")/.."
selection=(tests/sluice/release tests/sluice/scoring tests/sluice/statistics tests/sluice/gate tests/sluice/data tests/sluice/test_environments.py tests/churn)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find_python() { # find_python VERSION: print an interpreter of this version
  local found
  for found in "python$1" "$(pyenv prefix "$1" 2>/dev/null)/bin/python$1"; do
    if "$found" -c '' 2>/dev/null; then echo "$found" && return; fi
  done
  return 1
}

others=("$@")
if [ $# -eq 0 ]; then
  for version in 3.12 3.13; do
    if found=$(find_python "$version"); then others+=("$found"); else echo "Python $version was not tested, because it is not installed."; fi
  done
fi

for python in ${others[@]+"${others[@]}"}; do
  folder=$work/$(basename "$python")
  mkdir "$folder"
  git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$folder"
  began=$SECONDS
  make --no-print-directory -C "$folder" PYTHON="$python" setup data
  echo "The environments of $python took $((SECONDS - began)) s."
  (cd "$folder" && .venv/bin/pytest "${selection[@]}" -m "not slow and not cluster" -n 3 --dist loadfile -q)
  rm -rf "$folder"
done
