"""Files that were damaged, and data of any shape: what tests/test_fuzz.py reads."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(max_size=30)  # any characters that UTF-8 can write
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(TEXT, one, max_size=4), max_leaves=12
)


def read_or_refused(read: Callable[[], Any], *named: str) -> Any:
    """What is read; None where it is refused, in one sentence that names the file."""
    try:
        return read()
    except ValueError as error:
        said = str(error)
        assert not isinstance(error, UnicodeError), said
        assert 10 < len(said) < 2000 and "\n" not in said.strip() and "Traceback" not in said, said
        assert any(name in said for name in named), said
    return None


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with one to three places cut off, changed, doubled, deleted or filled in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(1, 40)))
        kind = draw(st.sampled_from(("cut", "change", "change", "double", "delete", "fill")))
        if kind == "cut":
            del data[start:]
        elif kind == "change":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif kind == "double":
            data[start:start] = data[start:end]
        elif kind == "delete":
            del data[start:end]
        else:
            data[start:start] = draw(st.binary(max_size=40))
    return bytes(data)


@st.composite
def misshapen(draw: st.DrawFn, whole: Any) -> Any:
    """Plain data in which one or two values are others, missing, or under another name."""
    data = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(data))
        if not places:
            return draw(JSON)
        holder, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(("other", "other", "other", "gone", "renamed")))
        if kind == "other":
            holder[key] = draw(JSON)
        else:
            value = holder.pop(key)
            if kind == "renamed" and isinstance(holder, dict):
                holder[draw(TEXT)] = value
    return data


def _places(data: Any):
    """(holder, key or index) of every value inside."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(pairs):
        yield data, key
        yield from _places(value)
