import subprocess
from pathlib import Path

import pytest

from comity.mpyc_bridge.environment import child_command, child_environment


def test_no_switch_of_mpyc_or_python_reaches_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MPYC_NOPRSS", "MPYC_MIX32_64BIT", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "READTHEDOCS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = child_environment(77)
    assert environment["LANG"] == "C.UTF-8" and environment["PYTHONHASHSEED"] == "77"
    assert {name for name in environment if name.startswith(("MPYC", "PYTHON", "READ"))} == {
        "MPYC_NOUVLOOP",
        "PYTHONHASHSEED",
    }


def test_a_child_is_ours_whatever_lies_in_the_current_folder(tmp_path: Path) -> None:
    for name in ("comity.py", "mpyc.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger')\n")
    command = [*child_command("comity.mpyc_bridge.probe"), "3", "1", "builtin"]
    done = subprocess.run(
        command, cwd=tmp_path, env=child_environment(0), capture_output=True, text=True, timeout=15, check=False
    )
    assert "a stranger" not in done.stderr
    assert "not enough values to unpack" in done.stderr  # our probe, which expects more
