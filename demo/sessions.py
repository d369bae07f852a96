"""Visitors' sessions as the page holds them: which are over, and which make room for others."""

from datetime import datetime, timedelta
from typing import Any

import gradio as gr
from gradio.state_holder import StateHolder

from .allocator import give_back
from .visitor import VisitorState

MOST_SESSIONS = 2000  # the longest unused goes first
MOST_NUMBERS = 2**29  # of all sessions' edits: 2 GB
KEPT_CLOSED = timedelta(minutes=1)  # a tab that lost its connection comes back by then; a closed one never


def is_lost(inputs: list[Any], session: Any) -> bool:
    """Whether a page sends its visitor's state to a session in which it was never loaded."""
    values = [session[component._id] for component in inputs if isinstance(component, gr.State)]
    return any(isinstance(value, VisitorState) and not value.met for value in values)


def make_room(holder: StateHolder, present: Any) -> None:
    """Drop the sessions of closed tabs, and the longest unused ones where all together keep too much; never
    the present one.
    """
    kept = {key: _numbers(session) for key, session in list(holder.session_data.items())}
    total, now, dropped = sum(kept.values()), datetime.now(), False
    for key, numbers in kept.items():  # the longest unused comes first
        session = holder.session_data.get(key)
        over = (
            getattr(session, "is_closed", False) and now - holder.time_last_used.get(key, now) > KEPT_CLOSED
        )
        if session is not present and (over or (total > MOST_NUMBERS and numbers)):
            holder.session_data.pop(key, None)
            holder.time_last_used.pop(key, None)
            total, dropped = total - numbers, True
    if dropped:
        give_back()


def _numbers(session: Any) -> int:
    values = list(session.state_data.values())
    return sum(visitor.numbers for visitor in values if isinstance(visitor, VisitorState))
