"""Links: channels authenticated against the keys of the manifest."""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

_MODULE = find_spec("comity.links.stream")
COMPILED = _MODULE is not None and str(_MODULE.origin).endswith(tuple(EXTENSION_SUFFIXES))
"""Whether the modules in which a message spends its time are compiled; see docs/adr/0015."""
