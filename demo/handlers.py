"""What the page's event handlers share: their queues, errors as messages, and buttons that stop something."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

# Handlers that run the model wait in one queue and run one at a time.
COMPUTE: dict[str, Any] = {"concurrency_id": "compute", "concurrency_limit": 1}
# Loading is mostly waiting for a download. Its queue has no limit, so that nobody's edits wait for it.
LOADING: dict[str, Any] = {"concurrency_id": "loading", "concurrency_limit": None}
# For handlers that are no endpoint of the API.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# The same, for handlers that also show no progress bar.
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}

_TITLE = "That did not work"
_UNEXPECTED = "Something failed inside; your inputs are kept. The server's log has the details."


def errors_as_messages(handler: Callable) -> Callable:
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
        except ValueError as error:
            raise gr.Error(str(error), title=_TITLE, duration=12) from error
        except Exception as error:
            logging.getLogger(__name__).exception("handler failed")
            raise gr.Error(_UNEXPECTED, title=_TITLE) from error

    return wrapped


def stops(button: gr.Button, events: list, message: Callable, outputs: list) -> None:
    """Let a button cancel events and then show a message.

    The message is a second listener: an event that is being cancelled could otherwise overwrite it.
    """
    button.click(None, cancels=events, **PRIVATE)
    button.click(message, None, outputs, **QUIET)
