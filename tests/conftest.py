"""Importing MPyC reads sys.argv and the environment: here it must not see pytest's options, nor set a loop policy."""

import os
import sys
from unittest import mock

with mock.patch.object(sys, "argv", ["tests", "--no-log"]), mock.patch.dict(os.environ, MPYC_NOUVLOOP="1"):
    import mpyc.finfields
    import mpyc.fingroups  # noqa: F401
