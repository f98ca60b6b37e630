"""A lab without root. Tests that run as root become somebody else, with a TUN node for everybody."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from comity.lab.namespaces import missing

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PATH = os.pathsep.join((str(ROOT / "src"), *site.getsitepackages()))
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
NODE = """
mount -t tmpfs tmpfs /mnt && mknod /mnt/tun c 10 200 && chmod 666 /mnt/tun && mount --bind /mnt/tun /dev/net/tun &&
exec "$@"
"""


def run(*command: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": PATH}
    outer = ["unshare", "--mount", "sh", "-c", NODE, "sh", *AS_NOBODY] if os.geteuid() == 0 else []
    return subprocess.run([*outer, *command], env=env, capture_output=True, text=True, check=False, cwd="/")


def refused() -> tuple[str, str]:
    """An interpreter that can be used without root, and why there is no lab with it."""
    if os.geteuid() != 0:
        return sys.executable, missing() or ""
    if not shutil.which("setpriv"):
        return "", "setpriv is not installed"
    why = ""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin") or ""):
        program = "import sys, comity.cli.lab, comity.lab.namespaces as n; sys.exit(n.missing())"
        user = ["unshare", "--user", "--map-root-user"]  # a folder that only root can enter is refused here
        tried = run(*user, python, "-c", "import comity.cli.lab", home=Path("/"))
        tried = tried if tried.returncode else run(python, "-c", program, home=Path("/"))
        if not tried.returncode:
            return python, ""
        why = tried.stderr.strip().splitlines()[-1]
    return "", f"no lab without root: {why}"


@pytest.mark.lab
@pytest.mark.timeout(60)
def test_a_lab_without_root_says_so_and_works(tmp_path: Path) -> None:
    python, why = refused()
    if why:
        pytest.skip(why)
    home = tmp_path
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    os.chown(home, NOBODY if os.geteuid() == 0 else -1, -1)
    done = run(python, "-m", "comity", "lab", "run", "two-near", "-n", "2", "--on", "alice", "--",
               "sh", "-c", "id -u; ping -q -c 3 -i 0.1 bob; echo x > /tmp/x; cat /tmp/x", home=home)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no real-time priority" in done.stderr
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == ("0", "x"), "who made the lab is root in it"
    assert "3 received" in done.stdout
