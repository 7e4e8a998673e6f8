"""Which threads give way when there is more to do than there are cores.

The event loop does not: what it does is short, and a request that is refused, or a health check, waits for it alone.
"""

import os
import sys
import threading
from contextlib import suppress

# How far threads step back behind the event loop (19 is the furthest): those that answer, and those that load the next
# version beside them.
WORKING = 1
LOADING = 6


def step_back(by: int) -> None:
    """Let this thread give way, and all that it will start: an engine starts its own where it loads a model."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            # From where it is: a server that was started with less priority may not give a thread of it more.
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + by)
