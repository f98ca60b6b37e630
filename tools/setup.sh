# Sourced by ./demo and ./check: makes .venv on a machine with only python3 and git. Sets $py.
find_python() {
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$candidate"; return; fi
  done
}
make_environment() { # $1: extras to install
  py=.venv/bin/python
  want="$1 $(cksum < pyproject.toml)"
  [ -x "$py" ] && [ "$(cat .venv/comity-stamp 2>/dev/null)" = "$want" ] && return
  base=$(find_python)
  [ -n "$base" ] || { echo "error: comity needs Python 3.11 or later" >&2; exit 2; }
  echo "Setting up .venv (once)" >&2
  if ! "$base" -m venv --clear .venv >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt-get install -y -qq python3-venv >/dev/null && "$base" -m venv --clear .venv || exit 2
    else
      echo "error: this Python cannot make a virtual environment" >&2
      echo "hint: sudo apt install python3-venv" >&2
      exit 2
    fi
  fi
  "$py" -m pip install --quiet --disable-pip-version-check -e ".[$1]" || exit 2
  echo "$want" > .venv/comity-stamp
}
