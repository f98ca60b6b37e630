"""All targets; importing this fills `fuzzing.target.TARGETS`."""

import sys

arguments, sys.argv = sys.argv, sys.argv[:1]  # importing MPyC reads them

from fuzzing.targets import lab, links, messages, program, rendezvous, texts  # noqa: E402

sys.argv = arguments

__all__ = ["lab", "links", "messages", "program", "rendezvous", "texts"]
