"""Links: channels authenticated against the keys of the manifest."""
