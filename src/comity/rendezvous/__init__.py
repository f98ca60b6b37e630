"""Rooms where parties who cannot reach one another yet leave sealed messages."""
