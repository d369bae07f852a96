"""What the page's event handlers share: their queues, errors as messages, and buttons that stop something."""

import functools
import html
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import torch

from model_zoo.cache import is_full
from model_zoo.memory import is_exhausted

from .sharing import MOST_TOGETHER, Gone, Superseded

# Handlers that run the model wait in one queue and run one at a time.
COMPUTE: dict[str, Any] = {"concurrency_id": "compute", "concurrency_limit": 1}
# Questions come all at once: those that wait share a batch.
ASK: dict[str, Any] = {"concurrency_id": "ask", "concurrency_limit": 2 * MOST_TOGETHER}
# Those that take long stand in a queue of their own: between their steps the model is free for others.
LONG: dict[str, Any] = {"concurrency_id": "long", "concurrency_limit": 2}
# The same for maps, so that they wait for no evaluation.
MAPS: dict[str, Any] = {"concurrency_id": "maps", "concurrency_limit": 2}
# Loading is mostly waiting for a download. Its queue has no limit, so that nobody's edits wait for it; the
# runtime limits how many load at once.
LOADING: dict[str, Any] = {"concurrency_id": "loading", "concurrency_limit": None}
# Gradio works on so many events at once, of all queues together: more than those that may take long, so that
# an edit always finds a thread.
MOST_THREADS = 80
# For what may be asked for again while it is still being told: the one before gives way (turns.GIVE_WAY).
# Gradio would drop the second click otherwise.
ANEW: dict[str, Any] = {"trigger_mode": "multiple"}
# For handlers that are no endpoint of the API.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# The same, for handlers that also show no progress bar.
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}

_TITLE = "That did not work"
_UNEXPECTED = "Something failed inside; your inputs are kept. The server's log has the details."
_NO_MEMORY = (
    "There was not enough memory for this; your edits and inputs are kept, and everything else goes on. Try "
    "a shorter text, fewer edits at once, or a smaller model."
)
_NO_DISK = "The server's disk is full, so no file was written; your edits are kept. Try again later."
MOST_OF_A_MESSAGE, MOST_OF_A_LINE = 1200, 300  # characters; what a visitor typed may be in them


def refusal(message: str, escaped: bool = True) -> gr.Error:
    """What is told where something cannot be done. The page shows it as HTML, so it is `escaped` there."""
    if len(message) > MOST_OF_A_MESSAGE:
        half = MOST_OF_A_MESSAGE // 2
        message = f"{message[:half]} … {message[-half:]}"
    message = message.encode("utf-8", "backslashreplace").decode()
    told = html.escape(message, quote=False) if escaped else message
    return gr.Error(told, title=_TITLE, duration=12, print_exception=False)


def errors_as_messages(handler: Callable, escaped: bool = True) -> Callable:
    """Show the engine's ValueErrors as messages on the page. The inputs stay as they are.

    Any other error is logged, and the message says so. The handler may return one value or yield several;
    one that yields none would empty its outputs.
    """

    @functools.wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            result = handler(*args, **kwargs)
            if isinstance(result, Iterator):
                yield from result
            else:
                yield result
        except gr.Error:
            raise
        except Superseded:  # what comes next draws all anew
            return
        except Gone as error:
            raise refusal("Nobody waited for this any more, so it was not done.") from error
        except ValueError as error:
            raise refusal(str(error), escaped) from error
        except Exception as error:
            logging.getLogger(__name__).error("handler failed\n%s", _cut(traceback.format_exc()))
            raise refusal(_lacking(error) or _UNEXPECTED) from error

    return wrapped


def _lacking(error: Exception) -> str:
    """What the server had too little of, memory or disk; empty for another error."""
    if is_exhausted(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return _NO_MEMORY
    return _NO_DISK if is_full(error) else ""


def _cut(text: str) -> str:
    """A traceback whose lines are short: an error may quote the whole of what was typed."""
    return "\n".join(line[:MOST_OF_A_LINE] for line in text.splitlines())


def stops(button: gr.Button, events: list, message: Callable, outputs: list) -> None:
    """Let a button cancel events and then show a message.

    The message is a second listener: an event that is being cancelled could otherwise overwrite it.
    """
    button.click(None, cancels=events, **PRIVATE)
    button.click(message, None, outputs, **QUIET)
