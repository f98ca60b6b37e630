"""The only folder that knows MPyC."""
