"""Put on PYTHONPATH, this makes every Python process of a test refuse and record what leaves the machine.

Connections to other addresses than loopback and look-ups of other names than localhost raise, and each leaves a line in
the file that HAKKA_NETWORK_RECORD names.
"""

import os
import socket
import sys

_RECORD = os.environ.get("HAKKA_NETWORK_RECORD")
_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def _is_local(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host in (None, "", socket.gethostname()) or str(host).startswith(_LOCAL)


def _check(what, host):
    if not _is_local(host):
        with open(_RECORD, "a") as file:  # noqa: PTH123 - no more imports than needed in every process
            file.write(f"{what} {host} by {' '.join(sys.argv)[:120]}\n")
        raise OSError(f"network guard: {what} {host}")


if _RECORD:

    def _wrap(name):
        original = getattr(socket.socket, name)

        def guarded(self, address, *rest):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _check(name, address[0])
            return original(self, address, *rest)

        setattr(socket.socket, name, guarded)

    def _wrap_lookup(name):
        original = getattr(socket, name)

        def guarded(host, *rest, **options):
            _check(name, host)
            return original(host, *rest, **options)

        setattr(socket, name, guarded)

    for _name in ("connect", "connect_ex"):
        _wrap(_name)
    for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        _wrap_lookup(_name)
