"""An emulated internet on one machine: hosts, NATs and distances out of namespaces and one process."""
