"""Plain MPyC programs; they import nothing of comity and run by plain python as well."""
