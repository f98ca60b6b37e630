"""Links: channels authenticated against the keys of the manifest."""

from importlib.machinery import EXTENSION_SUFFIXES

from comity.core import limits

COMPILED = limits.__file__.endswith(tuple(EXTENSION_SUFFIXES))
"""Whether the modules in which a message spends its time are compiled, all or none; see docs/adr/0015."""
