# Sourced by ./demo and ./check: makes .venv on a machine with only python3 and git.
find_python() {
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$candidate"; return; fi
  done
}
make_venv() { # $1: python
  "$1" -m venv --clear .venv >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null && apt-get install -y -qq python3-venv >/dev/null && "$1" -m venv --clear .venv && return
  fi
  echo "error: this Python cannot make a virtual environment" >&2
  echo "hint: sudo apt install python3-venv" >&2
  exit 2
}
make_lab() { # what tests need to make networks; where it cannot be had they are skipped, and say so
  command -v ip >/dev/null && command -v nft >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  echo "Installing iproute2 and nftables for the tests with networks of their own" >&2
  { apt-get update -qq && apt-get install -y -qq iproute2 nftables; } >/dev/null 2>&1 ||
    echo "they could not be installed; these tests are skipped" >&2
}
make_environment() { # $1: the extra to install; dev holds fast, so .venv changes back for nobody
  local sum have base
  sum=$(cksum < pyproject.toml)
  have=$(cat .venv/comity-stamp 2>/dev/null || true)
  if [ -x .venv/bin/python ]; then
    [ "$have" = "$1 $sum" ] || [ "$have" = "dev $sum" ] && return
  fi
  base=$(find_python)
  [ -n "$base" ] || { echo "error: comity needs Python 3.11 or later" >&2; exit 2; }
  echo "Setting up .venv (once; about a minute)" >&2
  .venv/bin/python -c '' 2>/dev/null || make_venv "$base"
  if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$1]"; then
    echo "error: the packages that comity needs could not be installed" >&2
    echo "hint: is there a network, or a package index that pip can reach?" >&2
    exit 2
  fi
  echo "$1 $sum" > .venv/comity-stamp
}
