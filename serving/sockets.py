"""The listening socket, and its address."""

import os
import socket

from hakka.errors import Unavailable

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; taken before the model is loaded, so that a taken port is known at once.

    Raises:
        Unavailable: the address is in use, is not this machine's, or may not be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # A host that cannot be looked up has a negative number, and its own text.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise Unavailable(f"cannot listen on {host} port {port}: {reason}") from None


def address_of(listener: socket.socket) -> str:
    """The URL of a listening socket, with its real port."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
