"""What the command line says about reaching others arrives where it is used."""

import click
import pytest

from comity.cli import options as shared
from comity.interfaces import Settings
from comity.node.options import Options


def test_listen_and_advertise_become_settings() -> None:
    found: list[Options] = []

    @click.command()
    @shared.sized
    @shared.taking_part
    def command(**values: object) -> None:
        shared.take_talking(values)
        found.append(shared.take_options(values, verbose=False))

    words = ["--listen", "5000", "--advertise", "192.0.2.7:5000", "--advertise", "party.example.org"]
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 0
    assert [options.settings for options in found] == [
        Settings(listen=5000, advertise=("192.0.2.7:5000", "party.example.org"))
    ]
