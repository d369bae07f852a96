"""The command line, one group of commands per file. `python -m model_zoo --help` lists them."""

import sys
from collections.abc import Sequence

import typer

from . import (
    atlas,
    compare,
    edit,
    effects,
    evaluate,
    experiment,
    fetch,
    hub,
    importing,
    inspect,
    languages,
    methods,
    records,
    retrieve,
    sentiment,
    soak,
    statistics,
    train,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Edit what a language model believes.")
for command in (
    edit.edit,
    compare.compare,
    inspect.inspect,
    effects.side_effects,
    effects.trace,
    languages.languages,
    train.train,
    train.average,
    evaluate.evaluate,
    evaluate.directions,
    fetch.fetch,
    retrieve.retrieve,
    records.records,
    methods.methods,
    sentiment.sentiment,
    soak.soak,
    statistics.statistics,
    hub.pull,
    hub.push,
    hub.discover,
):
    app.command()(command)
app.command("import")(importing.import_archive)
app.add_typer(atlas.app, name="atlas")
app.add_typer(experiment.app, name="experiment")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input is one sentence on stderr and exit code 2."""
    from transformers.utils import logging

    from ..processes import started

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    command = typer.main.get_command(app)
    try:
        with started():
            return command.main(args=arguments, prog_name="python -m model_zoo", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if hasattr(error, "format_message"):  # the option parser's own errors
            if error.format_message():  # empty when the help was printed instead
                print(f"error: {error.format_message()}", file=sys.stderr)
            return 2
        from ..cache import is_full
        from ..memory import is_exhausted

        if isinstance(error, ValueError | OSError) or is_full(error) or is_exhausted(error):
            print(f"error: {error}", file=sys.stderr)
            return 2
        raise
