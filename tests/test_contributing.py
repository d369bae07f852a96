"""CONTRIBUTING's worked examples, applied as they are written to a copy of the project, which then keeps
every contract.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = re.findall(r"New file `([^`]+)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL)
DIFFS = re.findall(r"In `([^`]+)`:\n\n```diff\n(.*?)```", TEXT, re.DOTALL)


def applied(text: str, diff: str) -> str:
    """The text with a diff: every added line stands behind the line before it in the diff, or takes a removed
    one's place.
    """
    before, removed = "", False  # the line before in the diff, and whether the diff takes it away
    for line in diff.splitlines():
        sign, rest = line[:1], line[1:]
        if sign == "+":
            assert f"{before}\n" in text, f"the line that the example goes on from is not there: {before!r}"
            text = text.replace(f"{before}\n", f"{rest}\n" if removed else f"{before}\n{rest}\n", 1)
        before, removed = rest, sign == "-"
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project with all worked examples in it; the weights are linked."""
    folder = tmp_path_factory.mktemp("extended")
    for part in ("model_zoo", "demo", "tests", "assets"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    (folder / "model_zoo" / "weights").symlink_to(ROOT / "model_zoo" / "weights")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, code in FILES:
        assert not (folder / path).exists()
        (folder / path).write_text(code, encoding="utf-8")
    for path, diff in DIFFS:
        target = folder / path
        target.write_text(applied(target.read_text(encoding="utf-8"), diff), encoding="utf-8")
    return folder


def run(copy: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_every_kind_of_entry_has_an_example():
    assert len(FILES) == 5 and len(DIFFS) == 6


@pytest.mark.slow
def test_the_examples_keep_the_contract(copy):
    """Two methods, each one file and one line: one needs a subject and statistics, one rewrites prompts; and
    a family.
    """
    out = run(
        copy,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_contract.py",
        "tests/test_layers.py",
        "tests/test_families.py",
        "-k",
        "rank-one or reminder or layer or corner or nanochat",
    )
    assert int(re.search(r"(\d+) passed", out)[1]) >= 45 and "skipped" not in out


FIFTY = """
from model_zoo import EditRequest, EditSession, Studio
from model_zoo.sources import SOURCES, get_source
from model_zoo.tasks import get_task
import random

studio = Studio.open("atlas")
records = studio.source.records("counterfact", "test", 50, random.Random(3))
session = EditSession()
for record in records:
    session = session.add(studio.propose(record.request, "reminder")[0])
(patch,) = studio.patch(session).changes
assert len(patch.stored) == len(session.edits) >= 45
found = [patch.rewritten(e.request.prompt, studio.backbone) for e in session.edits]
for text, edit in zip(found, session.edits):
    assert text.startswith(f"{edit.request.prompt} {edit.request.target}.")
assert patch.rewritten("Good morning to you all", studio.backbone) == "Good morning to you all"
rank, _ = studio.propose(studio.request("counterfact", "The capital of France is", "Rome"), "rank-one")
assert rank.request.subject == "France" and rank.change.rank == 1
((before, after),) = studio.pairs([rank.request.prompt], studio.patch(EditSession().add(rank)))
assert before.startswith("Paris") and after.startswith("Rome"), (before, after)
assert get_task("units").name == "units" and "sums" in SOURCES
sums = get_source("sums")
assert {r.subject for r in sums.records("counterfact", "train", 9, random.Random(0))}.isdisjoint(
    r.subject for r in sums.records("counterfact", "test", 9, random.Random(0)))
import demo
page = demo.build()
assert any(getattr(block, "elem_id", "") == "hello-words" for block in page.blocks.values())
print("all fifty")
"""


def test_fifty_reminders_a_rank_one_edit_and_the_other_examples_work_on_the_shipped_model(copy):
    assert "all fifty" in run(copy, "-c", FIFTY)
