"""What transports share: the TCP listener and the addresses of this machine."""
