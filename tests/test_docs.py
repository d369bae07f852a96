"""The pages of results are what their JSON files say; README's commands exist."""

import re
from pathlib import Path

import pytest
import typer

from model_zoo.cli import app
from model_zoo.experiments.effects_page import TRACING, tracing_figure
from model_zoo.experiments.effects_page import document as effects_page
from model_zoo.experiments.methods_page import document as methods_page
from model_zoo.experiments.methods_page import measured
from model_zoo.experiments.render import as_csv
from model_zoo.experiments.results import document, read
from model_zoo.experiments.tables import read as read_tables
from model_zoo.experiments.together_section import FIGURE, figure
from model_zoo.families import FAMILIES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("folder, page", [("study", "RESULTS.md"), ("atlas", "RESULTS_ATLAS.md")])
def test_results_are_generated_never_typed(folder: str, page: str):
    results, out = ROOT / "docs" / "results" / folder, ROOT / "docs" / page
    found, written = read(results), out.read_text(encoding="utf-8")
    told = document(found, f"docs/results/{folder}", f"docs/{page}")
    assert found and written == told and written.count("\n") <= 150
    for name, data in found.items():
        assert (results / f"{name}.csv").read_text(encoding="utf-8") == as_csv(data["rows"])


def test_the_page_of_methods_is_generated_too():
    results = ROOT / "docs" / "results" / "smollm2"
    tables = read_tables(results)
    assert (ROOT / "docs" / "METHODS.md").read_text(encoding="utf-8") == methods_page(tables)
    assert (results / FIGURE).read_text(encoding="utf-8") == figure(measured(tables))


def test_the_page_of_side_effects_is_generated_too():
    tables = read_tables(ROOT / "docs" / "results" / "side_effects")
    assert tables and (ROOT / "docs" / "SIDE_EFFECTS.md").read_text(encoding="utf-8") == effects_page(tables)
    drawn = (ROOT / "docs" / "results" / "side_effects" / "tracing.svg").read_text(encoding="utf-8")
    assert drawn == tracing_figure(tables[TRACING])


def test_the_architectures_that_the_guide_lists_are_the_registered_ones():
    guide = (ROOT / "docs" / "GUIDE.md").read_text(encoding="utf-8")
    assert f"`config.json`): {', '.join(sorted(FAMILIES))};" in guide


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_readme_is_short():
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") < 150


def test_every_command_and_option_that_readme_and_docs_name_exists():
    commands = typer.main.get_command(app).commands
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    lines = re.findall(r"-m (?:-- )?model_zoo ([a-z-]+)((?: [a-z]+)?)([^\n`]*)", text)
    assert len(lines) > 20
    for name, sub, rest in lines:
        command = commands[name]
        if hasattr(command, "commands"):
            command = command.commands[sub.strip()]
        known = {option for parameter in command.params for option in parameter.opts}
        used = set(re.findall(r"(?<!\S)--[a-z-]+", rest.split(" && ")[0].split("  #")[0]))
        assert used <= known, f"{name}: {used - known}"


def test_every_picture_and_page_that_they_show_is_there():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_a_method_is_told_with_its_figures_alone_and_in_company():
    run = {"model": "smollm2", "prompts": "plain", "seed": "0", "task": "recent", "n": "20"}
    run |= {"torch": "2", "transformers": "5", "device": "cpu"}
    shown = {"score": "generated", "low": "0.5", "high": "1.0"}
    alone = run | shown | {"together": "1", "one_after_another": "False", "method": "grace"}
    rows = [
        alone | {"metric": "reliability", "mean": "0.95"},
        alone | {"metric": "generality", "mean": "0.0"},
        alone | {"metric": "reliability", "mean": "0.8", "together": "10"},
        alone | {"metric": "reliability", "mean": "0.7", "together": "10", "one_after_another": "True"},
    ]
    found = run | shown | {"method": "ike", "data": "recent", "stored": "90", "mean": "0.9"}
    tables = {
        "grace.csv": rows,
        "one_edit.csv": [{"method": "GRACE", "after": "a | b"}],
        "convsent.csv": [rows[0] | {"task": "convsent"}],  # another task, which the figure leaves out
        "retrieval.csv": [found | {"asked": "own prompt", "found": "first"}],
    }
    page = methods_page(tables)
    drawn = figure(measured(tables))
    assert ">GRACE<" in drawn and drawn.count("<polyline") == 1  # of one metric two numbers were measured
    assert "![The shares over the number of edits](results/smollm2/together.svg)" in page
    assert "| IKE (in context) | 90 | 90% [50%, 100%] |  |  |  |" in page
    assert "unseen edits of recent, prompts plain, seed 0" in page
    assert "| GRACE (codebook) | 20 | 95% [50%, 100%] | 0% [50%, 100%] |  |  |  |  |" in page
    assert "| method | 10 at once | 10 one after another |" in page
    assert "| GRACE (codebook) | 80% /  /  | 70% /  /  |" in page
    assert "| GRACE | a \\| b |" in page
