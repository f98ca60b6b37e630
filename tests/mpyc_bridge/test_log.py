"""MPyC's log, which people see with --verbose."""

import io
import sys

import pytest

from comity.mpyc_bridge.child import Log


def test_it_is_kept_until_nothing_is_asked_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    log = Log()
    print("Start MPyC", file=log, flush=True)
    assert shown.getvalue() == ""
    log.release()
    assert shown.getvalue() == "Start MPyC\n"
    print("Stop MPyC", file=log, flush=True)
    assert shown.getvalue() == "Start MPyC\nStop MPyC\n"
