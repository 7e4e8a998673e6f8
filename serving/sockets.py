"""The listening socket, its address, and how many connections there is room for."""

import os
import resource
import socket

from hakka.errors import Unavailable

BACKLOG = 2048
# Files that are open beside connections: some 25 in peace, more while a version is loaded or the log is written.
OWN_FILES = 64


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


def fit_connections(asked: int, times: int) -> int:
    """So many connections as are asked for, or as this many ``times`` of them the process may have open.

    Its limit is raised as far as it may be. Beyond it nobody could connect, and no model be loaded.
    """
    wanted = asked * times + OWN_FILES
    limit, most = (wanted if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    if limit < min(wanted, most):
        limit = min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return min(asked, max((limit - OWN_FILES) // times, 1))
