"""Links: channels authenticated against the keys of the manifest."""

from importlib.util import find_spec

_MODULE = find_spec("comity.links.stream")
COMPILED = _MODULE is not None and not str(_MODULE.origin).endswith(".py")
"""Whether the modules in which a message spends its time are compiled; see docs/adr/0015."""
