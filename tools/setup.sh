# Sourced by ./demo, ./check and ./fuzz: makes .venv on a machine with only python3 and git.
find_python() {
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$candidate"; return; fi
  done
}
make_venv() { # $1: python, $2: where
  "$1" -m venv --clear "$2" >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null && apt-get install -y -qq python3-venv >/dev/null && "$1" -m venv --clear "$2" && return
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
  local have
  have=$(cat .venv/comity-stamp 2>/dev/null || true)
  [ -x .venv/bin/python ] && [ "$have" = "dev $(stamp)" ] && return
  install_in .venv "$1" "$1 $(stamp)" "Setting up .venv (once; about a minute)"
}
make_oldest() { # the same with the oldest MPyC that comity takes, and compiled where that can be
  local mpyc
  mpyc=$(sed -n 's/^ *"mpyc>=\([0-9.]*\)".*/mpyc==\1/p' pyproject.toml)
  if has_compiler; then
    how=compiled install_in .venv-oldest dev "$mpyc compiled $(stamp) $(sources)" \
      "Setting up .venv-oldest, with $mpyc and compiled links" "$mpyc"
  else
    echo "Links are not compiled here: that takes a C compiler and Python's headers (apt install gcc python3-dev)" >&2
    install_in .venv-oldest dev "$mpyc $(stamp)" "Setting up .venv-oldest, with $mpyc" "$mpyc"
  fi
}
make_compiled() { # comity as a compiled wheel, to be measured
  has_compiler || { echo "error: compiling takes a C compiler and Python's headers" >&2; exit 2; }
  how=compiled install_in .venv-compiled dev "compiled $(stamp) $(sources)" "Setting up .venv-compiled"
}
has_compiler() { # also after it was installed, where that is allowed
  local base
  base=$(find_python)
  can_compile "$base" && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  echo "Installing a C compiler and Python's headers" >&2
  { apt-get update -qq && apt-get install -y -qq gcc libc6-dev "$base-dev"; } >/dev/null 2>&1
  can_compile "$base"
}
can_compile() { # $1: python, which names its compiler itself
  "$1" -c 'import os, shutil, sys, sysconfig
compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(shutil.which(compiler) is None)' 2>/dev/null
}
stamp() { cksum < pyproject.toml; }
sources() { find src tools/compile_hook.py -type f ! -name '*.pyc' | LC_ALL=C sort | xargs cat | cksum; }
install_in() { # $1: where, $2: the extra, $3: what to note when done, $4: what to say, then more packages
  local folder=$1 extra=$2 done=$3 base
  [ -x "$folder/bin/python" ] && [ "$(cat "$folder/comity-stamp" 2>/dev/null || true)" = "$done" ] && return
  base=$(find_python)
  [ -n "$base" ] || { echo "error: comity needs Python 3.11 or later" >&2; exit 2; }
  echo "$4" >&2
  shift 4
  "$folder/bin/python" -c '' 2>/dev/null || make_venv "$base" "$folder"
  if ! pip_install "$folder" "$extra" "$@"; then
    echo "error: the packages that comity needs could not be installed" >&2
    echo "hint: is there a network, or a package index that pip can reach?" >&2
    exit 2
  fi
  echo "$done" > "$folder/comity-stamp"
}
pip_install() { # $1: where, $2: the extra, then more packages; `how`: compiled, or else as the tree stands
  local pip="$1/bin/python -m pip install --quiet --disable-pip-version-check" extra=$2
  shift 2
  case ${how:-} in
    compiled)
      HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $pip ".[$extra]" "$@" || return
      "${pip%% *}" -P -c 'import comity.links, sys; sys.exit(not comity.links.COMPILED and "links are not compiled")'
      ;;
    *) $pip -e ".[$extra]" "$@" ;;
  esac
}
make_fuzzer() { # what fuzzing needs: wheels only, since building it takes a compiler of its own
  .venv/bin/python -c 'import atheris' 2>/dev/null && return
  echo "Installing atheris" >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --only-binary atheris -e ".[fuzz]" \
    >/dev/null 2>&1 && .venv/bin/python -c 'import atheris' 2>/dev/null && return
  echo "atheris could not be installed: it has packages for Linux on x86-64 with Python 3.11 to 3.14" >&2
  return 1
}
