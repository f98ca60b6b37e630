"""Testbeds: where the hosts of a topology come from. One file each."""
