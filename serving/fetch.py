"""Photos from addresses that the operator allows, and from nowhere else.

An address that a caller may choose is a way to make this server talk to others in its network. So every address, that
of a redirect too, must lie under an allowed one, and its host must have public IP addresses only, unless the allowed
one names an IP address itself. The connection goes to the IP address that was checked: a name may mean another one
a moment later.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from hakka.errors import HakkaError, InvalidInput
from serving.admission import Expired
from serving.fields import show
from serving.protocol import Query, Url

if TYPE_CHECKING:
    import httpx

SECONDS = 10.0  # for all photos of a request
REDIRECTS = 3
MAX_URL = 2048
REQUESTS = 8  # that hold fetched photos at the same time
PORTS = {"http": 80, "https": 443}
HEADERS = {"accept": "image/jpeg, image/png, image/webp", "accept-encoding": "identity", "user-agent": "hakka"}
# What browsers, proxies and libraries read differently: none of it is needed in an address of a photo.
_STRANGE = re.compile(r"[^\x21-\x7e]|[\\@#]|%2e|%2f|%5c|/\.{1,2}(?=/|\?|$)", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Address:
    """A web address in parts; ``target`` is its path and query."""

    scheme: str
    host: str
    port: int
    path: str
    target: str

    def covers(self, other: "Address") -> bool:
        """``other`` is this one, or lies under it."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        return other.path == self.path or other.path.startswith(f"{self.path.rstrip('/')}/")


def read_address(text: str) -> Address:
    """A plain http or https address.

    Raises:
        InvalidInput: it is none, or has a user, a fragment, dots for folders or characters to be escaped.
    """
    sentence = f"must be a plain http or https address, got {show(text)}"
    if len(text) > MAX_URL or _STRANGE.search(text):
        raise InvalidInput(sentence)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput(sentence) from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise InvalidInput(sentence)
    path = parts.path or "/"
    port = port or PORTS[parts.scheme]
    return Address(parts.scheme, parts.hostname, port, path, f"{path}?{parts.query}" if parts.query else path)


class Fetcher:
    """Gets the photos of queries that hold addresses; ``most`` bytes all photos of a request together."""

    def __init__(self, allowed: Sequence[str], most: int) -> None:
        """Raises InvalidInput if an allowed prefix is no address."""
        self._allowed = tuple(read_address(prefix) for prefix in allowed)
        self._most = most
        self._turns = asyncio.Semaphore(REQUESTS)
        self._client: httpx.AsyncClient | None = None

    @property
    def on(self) -> bool:
        """Any address is allowed."""
        return bool(self._allowed)

    @contextlib.asynccontextmanager
    async def fetched(self, queries: Sequence[Query]) -> AsyncIterator[Sequence[Query]]:
        """The queries with every address replaced by the file that was there.

        Raises:
            InvalidInput: an address is not allowed, does not answer with a file, or the files are too large.
            Expired: the deadline of a query passed before its photo was there.
        """
        if not any(isinstance(query.image, Url) for query in queries):
            yield queries
            return
        for query in queries:
            if isinstance(query.image, Url):
                self._check(query.image.text, query.place)
        async with self._turns:
            room = _Room(self._most)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._fill(query, room)) for query in queries]
            yield [_result(task) for task in tasks]

    async def _fill(self, query: Query, room: "_Room") -> Query | HakkaError:
        if not isinstance(query.image, Url):
            return query
        left = SECONDS if query.deadline is None else query.deadline - time.monotonic()
        try:
            async with asyncio.timeout(min(left, SECONDS)):
                return replace(query, image=await self._get(query.image.text, query.place, room))
        except TimeoutError:
            late = InvalidInput(f"{query.place}: the photo must be there within {SECONDS:g} s")
            return Expired() if left < SECONDS else late
        except InvalidInput as error:
            return error

    async def _get(self, url: str, place: str, room: "_Room") -> bytes:
        import httpx

        for _ in range(REDIRECTS + 1):
            address = self._check(url, place)
            try:
                async with self._request(address, await _resolve(address, place)) as response:
                    if not response.is_redirect:
                        return await _read(response, place, room)
                    url = urljoin(url, response.headers.get("location", ""))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise InvalidInput(f"{place}: the photo cannot be fetched: {type(error).__name__}") from None
        raise InvalidInput(f"{place}: at most {REDIRECTS} redirects are followed")

    def _check(self, url: str, place: str) -> Address:
        if not self.on:
            raise InvalidInput(f"{place}: this server fetches no photos; send the file itself as b64")
        try:
            address = read_address(url)
        except InvalidInput as error:
            raise InvalidInput(f"{place} {error}") from None
        if not any(allowed.covers(address) for allowed in self._allowed):
            raise InvalidInput(f"{place} must lie under an address that this server allows, got {show(url)}")
        return address

    def _request(self, address: Address, ip: str) -> contextlib.AbstractAsyncContextManager["httpx.Response"]:
        import httpx

        if self._client is None:
            # A kept connection could be taken for another host at the same IP address, whose certificate was not seen.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.AsyncClient(trust_env=False, timeout=SECONDS, limits=limits)
        literal = f"[{ip}]" if ":" in ip else ip
        host = f"[{address.host}]" if ":" in address.host else address.host
        usual = address.port == PORTS[address.scheme]
        return self._client.stream(
            "GET",
            f"{address.scheme}://{literal}:{address.port}{address.target}",
            headers={**HEADERS, "host": host if usual else f"{host}:{address.port}"},
            extensions={"sni_hostname": address.host},
        )


class _Room:
    """Bytes that the photos of a request may still take."""

    def __init__(self, left: int) -> None:
        self._most = self._left = left

    def take(self, size: int, place: str) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidInput(f"{place}: the photos of a request must be at most {self._most} bytes")


def _result(task: "asyncio.Task[Query | HakkaError]") -> Query:
    result = task.result()
    if isinstance(result, HakkaError):
        raise result
    return result


async def _read(response: "httpx.Response", place: str, room: _Room) -> bytes:
    if response.status_code != 200:
        raise InvalidInput(f"{place}: the photo cannot be fetched: status {response.status_code}")
    parts = []
    async for part in response.aiter_raw():  # raw: nothing is decompressed
        room.take(len(part), place)
        parts.append(part)
    return b"".join(parts)


async def _resolve(address: Address, place: str) -> str:
    """The IP address to connect to."""
    try:
        return str(ipaddress.ip_address(address.host))  # the allowed address names it
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InvalidInput(f"{place}: the photo cannot be fetched: the host is not known") from None
    ips = [str(entry[4][0]) for entry in found]
    if not all(is_public(ip) for ip in ips):
        raise InvalidInput(f"{place}: the host of a photo must have public IP addresses only")
    return ips[0]


def is_public(ip: str) -> bool:
    """The IP address is on the open internet, also where it stands for an IPv4 address."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global
    return address.is_global and not address.is_multicast
