"""The `comity` command."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
def main() -> None:
    """Secure sessions for strangers who compute together with MPyC."""
