"""The command line as people see it: every transcript of this folder, in pseudo-terminals."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.transcripts.play import Play

HERE = Path(__file__).parent
SECONDS = 45.0
"""For one transcript, on a busy machine."""

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
async def test_a_transcript_is_what_people_see(path: Path, tmp_path: Path) -> None:
    play = Play(path.read_text(), tmp_path, HERE / "programs")
    try:
        await play.run(SECONDS)
    finally:
        play.close()
