"""A real S3 server on loopback, for any test that needs an object store."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def running_store(port: int = 0) -> Iterator[str]:
    """The address of an S3 server that ends with the block."""
    command = [sys.executable, "-c", SERVER, str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


def store_environment(endpoint: str) -> dict[str, str]:
    """What a client of that server needs in its environment."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }


def forget_stores() -> None:
    """Let this process open the server that its environment names, not that of an earlier test."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def make_bucket(name: str) -> None:
    """Make a bucket on the server that this process's environment names."""
    import fsspec

    forget_stores()
    files, _ = fsspec.url_to_fs(f"s3://{name}")
    files.makedirs(name, exist_ok=True)
