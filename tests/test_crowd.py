"""Many visitors: what a file costs, how many models load at once, what a session may hold."""

import pickle
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from demo import LAUNCH
from demo.api import EDIT
from demo.handlers import ASK, COMPUTE, LONG, MAPS
from demo.kept_edits import MOST, as_text
from demo.kept_edits import read as read_kept
from demo.runtime import Runtime
from demo.settings import Settings
from demo.studios import MOST_LOADING
from demo.visitor import ModelChoice, VisitorState
from model_zoo.benchmarks import read
from model_zoo.changes import Delta, LayerDelta
from model_zoo.progress import Progress, no_progress
from model_zoo.request import EditRequest
from model_zoo.session import REMEMBERED, Edit, EditSession
from model_zoo.subjects import find_subject

# ---- files -------------------------------------------------------------------------------------------------


def test_no_more_rows_of_a_file_are_read_than_asked_for(tmp_path):
    rows = [f"The capital of {i} is,Rome" for i in range(200_000)]
    table, lines = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    table.write_text("\n".join(["prompt,target", *rows]))
    lines.write_text("".join(f'{{"prompt": "The capital of {i} is", "target": "Rome"}}\n' for i in range(99)))
    for file in (table, lines):
        loaded = read(file, most=10)
        assert len(loaded.records) == 10 and loaded.records[9].request.prompt == "The capital of 9 is"
        assert "more than 10 rows" in loaded.skipped[-1].reason
    assert len(read(lines).records) == 99 and not read(lines).skipped
    assert not read(lines, most=99).skipped


@pytest.mark.parametrize("kind", ["pickle", "zip", "zeros", "nested"])
def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path, kind):
    path = tmp_path / "my-edits.json"
    if kind == "pickle":
        path.write_bytes(pickle.dumps([{"prompt": "a", "target": "b"}]))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rows.csv", "prompt,target\na,b\n")
    elif kind == "zeros":
        path.write_bytes(b"prompt,target\n\x00\x00\x01\x02" + b"a,b\n" * 50)
    else:
        path.write_bytes(b"[" * 50_000 + b"]" * 50_000)
    with pytest.raises(ValueError, match=r"my-edits\.json (is|holds) .+\.$"):
        read(path)


def test_a_file_in_utf_16_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("prompt,target\nThe capital of France is,Rome\n".encode("utf-16"))
    assert read(path).records[0].request.target == "Rome"


@pytest.mark.timeout(60)
def test_the_subject_of_a_long_prompt_is_found_in_time_that_grows_with_its_length():
    assert find_subject("a House of Commons of " * 20_000) is not None  # it took minutes once


# ---- loading -----------------------------------------------------------------------------------------------


def test_slow_loadings_are_limited_and_keep_nobody_from_a_model_that_is_there(hub):
    runtime, there = Runtime(Settings(device="cpu")), ModelChoice("atlas")
    studio = runtime.studio(there)
    all_are_at_it, done = threading.Barrier(MOST_LOADING + 1), threading.Event()

    def slowly(text: str) -> None:
        if text.startswith("Looking for"):
            all_are_at_it.wait(60)
            done.wait(60)

    def told(n: int, progress: Progress = no_progress) -> str:
        with pytest.raises(ValueError) as refusal:
            runtime.studio(ModelChoice(f"no/model-{n}"), progress)
        return str(refusal.value)

    with ThreadPoolExecutor(MOST_LOADING) as crowd:
        asked = [crowd.submit(told, n, slowly) for n in range(MOST_LOADING)]
        all_are_at_it.wait(60)
        assert "are being loaded here already" in told(MOST_LOADING)
        assert runtime.studio(there) is studio
        done.set()
    assert all("was not found" in future.result() for future in asked)
    assert "was not found" in told(MOST_LOADING)  # there is room again


def test_all_that_may_take_long_leaves_threads_for_the_rest():
    limits = [queue["concurrency_limit"] for queue in (COMPUTE, ASK, LONG, MAPS, EDIT)]
    assert sum(limits) + MOST_LOADING < LAUNCH["max_threads"]


# ---- sessions ----------------------------------------------------------------------------------------------


def an_edit(n: int) -> Edit:
    """One whose change keeps 20 numbers."""
    change = Delta({"a": LayerDelta(A=torch.ones(1, 10), B=torch.ones(10, 1))})
    return Edit(EditRequest(f"The capital of {n} is", "Rome"), "ft-l", change)


def test_a_session_remembers_so_many_actions():
    session = EditSession().add(an_edit(0), an_edit(1))
    for _ in range(REMEMBERED + 20):
        session = session.toggle(0)
    assert len(session.past) == REMEMBERED
    for _ in range(REMEMBERED + 5):
        session = session.undo()
    assert not session.past and len(session.redo().past) == 1


def test_a_sessions_history_goes_before_its_edits_do():
    session = EditSession()
    for n in range(5):
        session = session.add(an_edit(n)).clear()
    session = session.add(an_edit(9))
    assert session.numbers == 6 * 20
    kept = session.within(3 * 20)
    assert (
        kept.edits == session.edits
        and kept.numbers <= 3 * 20
        and kept.past == session.past[-len(kept.past) :]
    )
    assert session.within(6 * 20) is session
    with pytest.raises(ValueError, match="1 edits keep 20 numbers, and 10 is the most"):
        session.within(10)


def test_edits_are_kept_as_text_and_what_somebody_changed_is_refused():
    choice = ModelChoice("atlas")
    session = EditSession().add(*(an_edit(n) for n in range(MOST + 5))).set_on({1})
    kept = read_kept(as_text(VisitorState(choice).with_session(session)))
    assert len(kept.edits) == MOST and kept.edits[-1].prompt == f"The capital of {MOST + 4} is"
    assert as_text(VisitorState(choice)) is None
    for broken in (
        5,
        [],
        {"model": "atlas"},
        {"model": "a" * 1000, "edits": []},
        {"model": "a", "edits": [{}]},
    ):
        with pytest.raises(ValueError, match="this browser kept cannot be read"):
            read_kept(broken)
