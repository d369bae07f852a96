"""The C library's memory, told that many short threads come and go: left alone it keeps what they freed, and
a page with a crowd grew by 800 MB in two minutes.
"""

import contextlib
import ctypes
import threading
import time

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LARGE = 2**20  # bytes of a block that goes back to the system when it is freed; smaller ones cost time
SPARE = 2**24  # bytes at the top of the heap that are kept
GIVEN_BACK = 20.0  # seconds between two times that everything freed is given back

_giving, _given = threading.Lock(), [0.0]


def keep_little() -> None:
    """For this process from now on; another C library than glibc is left as it is."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        library.mallopt(_TRIM_THRESHOLD, SPARE)


def give_back() -> None:
    """Return freed memory to the system, now and then."""
    with _giving:
        if time.monotonic() - _given[0] < GIVEN_BACK:
            return
        _given[0] = time.monotonic()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
