"""Who is connected to gRPC, as the kernel knows it: gRPC itself tells neither what came in nor lets us close anything.

On Linux a process can look at its own sockets. Elsewhere nobody is seen, and what is built on it does nothing.
"""

import os
import socket
import sys
from contextlib import suppress
from urllib.parse import unquote

# Where the count of bytes that came in stands in the kernel's struct tcp_info.
BYTES_RECEIVED = 128
INFO_SIZE = BYTES_RECEIVED + 8


class Peers:
    """The connections to one of our ports, by the addresses of their peers as ``peer_name`` gives them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._files: dict[str, int] = {}  # file descriptors by peer, in the order of their coming
        self._seen: dict[int, tuple[int, str]] = {}  # all file descriptors: their inode, and the peer or nothing

    def look(self) -> list[str]:
        """All peers, those that have been connected longest first."""
        before, self._seen = self._seen, {}
        for file in open_files():
            try:
                inode = os.fstat(file).st_ino
            except OSError:  # just closed
                continue
            seen = before.get(file)
            self._seen[file] = seen if seen and seen[0] == inode else (inode, _peer(file, self._port))
        found = {peer: file for file, (_, peer) in self._seen.items() if peer}
        self._files = {peer: found[peer] for peer in self._files if peer in found} | found
        return list(self._files)

    def received(self, peer: str) -> int | None:
        """The bytes that have come in from a peer so far; None if it was not there at the last look, or has gone."""
        file = self._files.get(peer)
        if file is None or _peer(file, self._port) != peer:
            return None
        try:
            with _Lent(file) as connection:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
        except OSError:
            return None
        return int.from_bytes(info[BYTES_RECEIVED:], sys.byteorder) if len(info) == INFO_SIZE else None

    def hang_up(self, peer: str) -> None:
        """End the connection of a peer that was there at the last look. gRPC sees it as the peer's going."""
        # A copy stays the same connection, also if gRPC closes it now and its number is given to another one.
        with suppress(OSError):
            copy = os.dup(self._files[peer])
            try:
                if _peer(copy, self._port) == peer:
                    with _Lent(copy) as connection:
                        connection.shutdown(socket.SHUT_RDWR)
            finally:
                os.close(copy)


def open_files() -> list[int]:
    """The file descriptors of this process; none where there is no way to know."""
    try:
        return [*map(int, os.listdir("/proc/self/fd"))]  # noqa: PTH208 - pathlib's takes seven times as long
    except OSError:
        return []


def peer_name(peer: str) -> str:
    """A peer from its name in gRPC: ``ipv4:127.0.0.1:50000`` or ``ipv6:[::1]:50000``."""
    return unquote(peer)


class _Lent(socket.socket):
    """A socket that belongs to somebody else and so stays open; its family need not be known."""

    def __init__(self, file: int) -> None:
        super().__init__(socket.AF_INET6, socket.SOCK_STREAM, 0, file)

    def __exit__(self, *_: object) -> None:
        self.detach()


def _peer(file: int, port: int) -> str:
    """The peer of a connection to our port, empty for any other file."""
    try:
        with _Lent(file) as connection:
            own = connection.getsockname()
            if not isinstance(own, tuple) or own[1] != port:
                return ""
            host, peer_port = connection.getpeername()[:2]
    except OSError:  # no socket, a listening one, or one whose peer has gone
        return ""
    host = host.removeprefix("::ffff:")
    return f"ipv6:[{host}]:{peer_port}" if ":" in host else f"ipv4:{host}:{peer_port}"
