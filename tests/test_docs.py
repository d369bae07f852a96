"""docs/RESULTS.md is what its JSON files say; README's commands exist."""

import re
from pathlib import Path

import typer

from model_zoo.cli import app
from model_zoo.experiments.results import document, read

ROOT = Path(__file__).parent.parent


def test_results_are_generated_never_typed():
    found = read(ROOT / "docs" / "results")
    assert found and (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8") == document(found)


def test_every_command_and_option_that_readme_names_exists():
    commands = typer.main.get_command(app).commands
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"python -m model_zoo ([a-z]+)((?: [a-z]+)?)([^\n`]*)", readme)
    assert len(lines) > 12
    for name, sub, rest in lines:
        command = commands[name]
        if hasattr(command, "commands"):
            command = command.commands[sub.strip()]
        known = {option for parameter in command.params for option in parameter.opts}
        used = set(re.findall(r"(?<!\S)--[a-z-]+", rest.split(" && ")[0].split("  #")[0]))
        assert used <= known, f"{name}: {used - known}"


def test_every_picture_and_page_that_readme_shows_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(((?:assets|docs)/[^)]+)\)", readme):
        assert (ROOT / target).exists(), target
