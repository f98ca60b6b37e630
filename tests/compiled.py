"""What a compiled package changes for its tests."""

import pytest

from comity.links import COMPILED

interpreted = pytest.mark.skipif(COMPILED, reason="it changes a constant or function that a compiled module has inside")
