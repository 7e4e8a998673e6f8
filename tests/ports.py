"""Ports for servers that must be told theirs before they start."""

import itertools
import os
import random
import socket

# Below the ports that Linux gives out by itself (net.ipv4.ip_local_port_range starts at 32768): none of the many
# short-lived connections of a neighbour can take one between its choice and its use. Each worker has its own.
FIRST, EACH = 20_000, 1_000
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(random.randrange(EACH))


def free_port() -> int:
    """A port on which nobody listens."""
    for number in itertools.islice(_numbers, EACH):
        port = FIRST + WORKER * EACH + number % EACH
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError(f"no free port from {FIRST + WORKER * EACH} on")
