"""Network ports for the processes of a test."""

import socket


def free_port() -> int:
    """Return a local port where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
