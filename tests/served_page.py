"""The page of this process, served over real HTTP."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from demo import LAUNCH, Settings, build


@contextmanager
def served_page(demo: bool) -> Iterator[str]:
    """The page on the atlas; yields its address."""
    page = build(Settings(model="atlas", device="cpu", demo=demo))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **LAUNCH)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        page.close(verbose=False)
