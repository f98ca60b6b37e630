"""Secure sessions for ad hoc multiparty computation with MPyC."""

__version__ = "0.1.0"
