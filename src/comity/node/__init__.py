"""One party's whole run: the only place where protocol and network meet."""
