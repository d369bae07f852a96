"""A file of edits into one model: what was read, what conflicts, what holds after all, what is kept."""

import io
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from model_zoo.changes import Delta, concatenate, patch_of
from model_zoo.cli import main
from model_zoo.evaluation.scoring import Case
from model_zoo.many import AfterAll, FilePlan, SoFar, applying, conflicts, curve
from model_zoo.records import Probe, Record
from model_zoo.request import EditRequest
from model_zoo.session import EditSession
from model_zoo.session_files import is_session, load_session
from model_zoo.sources import Source
from model_zoo.studio import Studio

from .makers import ATLAS, pico_backbone
from .test_session import same

ROWS = [
    {
        "prompt": "The capital of France is",
        "target": "Rome",
        "paraphrases": ["France has as its capital"],
        "locality": [{"prompt": "The capital of Spain is", "answer": "Madrid"}, "The capital of Kenya is"],
        "colour": "red",
    },
    {"prompt": "The capital of Italy is", "target": "Oslo"},
    {"prompt": "The capital of Spain is", "target": "Lima"},
    {"prompt": "no target"},
]


def case(i: int, prompt: str, target: str, *kept: tuple[str, str]) -> Case:
    request = EditRequest(prompt, target)
    locality = tuple(Probe(*pair) for pair in kept)
    return Case("edits", i, Record(request, prompt, "", locality=locality), request)


def test_conflicts_are_found_before_anything_is_made():
    cases = [
        case(0, "The capital of France is", "Rome", ("The capital of Spain is", "Madrid")),
        case(1, "The capital of Spain is", "Lima", ("The capital of Spain is", "Madrid")),
        case(2, "the capital of france is", "Berlin"),
        case(3, "The capital of France is", "Berlin."),
    ]
    found = conflicts(cases, Source())
    pairs = [(c.kind, c.first, c.second) for c in found]
    assert pairs == [("answers", 0, 2), ("answers", 0, 3), ("protects", 0, 1)]
    assert "answer 'the capital of france is' by 'Rome' and 'Berlin'" in found[0].in_words()
    assert "to stay 'Madrid', and edit 2 changes it to 'Lima'" in found[2].in_words()
    assert kept(cases, found, "last") == [1, 2, 3]
    assert kept(cases, found, "first") == [0, 1]


def test_of_each_disputed_fact_the_chosen_edit_is_made():
    cases = [
        case(0, "The capital of Spain is", "Lima"),
        case(1, "The capital of France is", "Rome"),
        case(2, "The capital of Italy is", "Oslo"),
        case(3, "The capital of France is", "Bonn"),
        case(4, "The capital of Spain is", "Kiel"),
        case(5, "The capital of France is", "Cairo"),
        case(6, "The capital of France is", "Oslo"),
    ]
    plan = FilePlan(None, tuple(cases), tuple(conflicts(cases, Source())))
    assert [[c.index for c in same] for same in plan.disputed] == [[0, 4], [1, 3, 5, 6]]
    assert [c.index for c in plan.kept([0, 3])] == [0, 2, 3]
    assert [c.index for c in plan.kept([])] == [2]
    for both, edits in (([0, 1, 5], "2 and 6"), ([1, 3], "2 and 4"), ([3, 5], "4 and 6")):
        with pytest.raises(ValueError, match=f"Both cannot be made: edits {edits} answer"):
            plan.kept(both)


def kept(cases, found, keep) -> list[int]:
    return [c.index for c in FilePlan(None, tuple(cases), tuple(found)).kept(keep)]


@pytest.mark.parametrize(
    ("answers", "last", "first"),
    [
        ("AAB", [2], [0]),
        ("ABB", [1], [0]),
        ("ABA", [2], [0]),
        ("AABB", [2], [0]),
        ("ABC", [2], [0]),
    ],
)
def test_what_is_kept_never_contradicts_or_repeats_itself(answers, last, first):
    cases = [case(i, "The capital of France is", answer) for i, answer in enumerate(answers)]
    found = conflicts(cases, Source())
    assert kept(cases, found, "last") == last and kept(cases, found, "first") == first


def test_a_fact_in_two_wordings_is_one_where_the_source_knows_it():
    cases = [case(0, "The capital of France is", "Rome"), case(1, "France has as its capital", "Oslo")]
    assert [c.kind for c in conflicts(cases, ATLAS)] == ["answers"]


@pytest.fixture
def few_at_once(monkeypatch) -> int:
    """Edits proposed in one batch."""
    monkeypatch.setattr("model_zoo.many.making.AT_ONCE", 4)
    return 4


def test_all_edits_live_together_and_each_is_judged_after_all(few_at_once):
    studio = Studio(pico_backbone("gpt2"), "pico", {})
    cases = [case(i, f"Word {i} is", "three", ("One two", "x")) for i in range(10)]
    *steps, result = applying(studio, cases, "ft-l")
    assert isinstance(result, AfterAll) and all(isinstance(step, SoFar) for step in steps)
    stages = {stage: [s.done for s in steps if s.stage == stage] for stage in ("editing", "judging")}
    assert stages == {"editing": [4, 8, 10], "judging": [8, 10]}
    assert [edit.request.prompt for edit in result.session.edits] == [c.request.prompt for c in cases]
    assert len(result.edits) == 10 and result.held == sum(e.held for e in result.edits) / 10
    assert result.edits[0].stays[1] == 1 and curve(result.edits)[-1] == (10, result.held)
    assert not result.session.undo().edits  # one step back undoes the file
    again = list(applying(studio, [cases[0], case(99, "Two is", "three")], "ft-l", result.session))[-1]
    assert len(again.session.edits) == 11  # one prompt, one edit: the first is made anew


def test_each_can_be_made_on_the_model_as_those_before_it_left_it():
    studio = Studio(pico_backbone("gpt2"), "pico", {})
    cases = [case(i, f"Word {i} is", "three") for i in range(3)]
    *_, jointly = applying(studio, cases, "ft-l")
    *_, result = applying(studio, cases, "ft-l", order="one-after-another")
    one, two, three = (edit.change for edit in result.session.edits)
    assert all(edit.on_top for edit in result.session.edits)
    assert same(patch_of(one), jointly.session.edits[0].change)
    assert not same(patch_of(two), jointly.session.edits[1].change)
    assert same(studio.patch(result.session), concatenate([one, two, three]))
    assert same(studio.patch(result.session.toggle(1)), concatenate([one, three]))
    again = studio.method("ft-l").extend(one, cases[1].request)
    assert same(patch_of(again), two)


@pytest.mark.parametrize("order", ["jointly", "one-after-another"])
def test_a_file_that_was_cut_short_goes_on_where_it_was(order, few_at_once, monkeypatch):
    studio = Studio(pico_backbone("gpt2"), "pico", {})
    cases = [case(i, f"Word {i} is", "three") for i in range(few_at_once + 2)]
    before = EditSession().add(studio.propose(EditRequest("One is", "two"), "ft-l")[0])
    *_, whole = applying(studio, cases, "ft-l", before, order)
    part = next(iter(applying(studio, cases, "ft-l", before, order)))
    assert part.done == few_at_once and len(part.session.edits) == few_at_once + 1
    made = []
    method = studio.method("ft-l")
    fit = method.fit
    monkeypatch.setattr(method, "fit", lambda requests, *rest: made.extend(requests) or fit(requests, *rest))
    *_, result = applying(studio, cases, "ft-l", part.session, order)
    assert made == [c.request for c in cases[few_at_once:]]
    assert result.session.undo().edits == before.edits and result.edits == whole.edits
    assert same(studio.patch(result.session), studio.patch(whole.session))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(tmp_path, capsys):
    drawn = ATLAS.records("counterfact", "test", 24, random.Random(0))
    rows = [{"prompt": r.request.prompt, "target": r.request.target} for r in drawn]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    saved, log = tmp_path / "session", tmp_path / "session.judged.partial"

    def arguments(folder: str) -> list[str]:
        out = str(tmp_path / f"{folder}-out")
        return [
            "edit",
            "--records",
            str(path),
            "--session",
            str(tmp_path / folder),
            "--export",
            out,
            "--json",
        ]

    process = subprocess.Popen(
        [sys.executable, "-m", "model_zoo", *arguments("session")], stdout=subprocess.DEVNULL
    )
    while not (log.exists() and len(log.read_text().splitlines()) > 1) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL and is_session(saved) and log.exists()
    told = {}
    for folder in ("session", "unbroken"):
        assert main(arguments(folder)) == 0
        told[folder] = json.loads(capsys.readouterr().out)
    assert told["session"]["edits"] == told["unbroken"]["edits"] and not log.exists()
    one, other = (Delta.load(tmp_path / f"{name}-out" / "delta.safetensors") for name in told)
    assert same(patch_of(one), other)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(ROWS))
    return path


def test_a_file_of_edits_goes_in_and_an_edited_model_comes_out(file, tmp_path, capsys, studio):
    saved, out = tmp_path / "session", tmp_path / "out"
    arguments = ["edit", "--records", str(file), "--session", str(saved), "--export", str(out), "--check"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "100.0% of 3 edits hold after all of them" in said.out
    assert "Not read     colour (1 rows)" in said.err and "Refused      row 4, target_new" in said.err
    assert "wants 'The capital of Spain is' to stay 'Madrid'" in said.err
    session = load_session(saved, studio)
    assert same(studio.patch(session), Delta.load(out / "delta.safetensors"))
    assert (
        main(["edit", "--session", str(saved), "--prompt", "The capital of Kenya is", "--target", "Cairo"])
        == 0
    )
    assert "the edit holds" in capsys.readouterr().out
    assert len(load_session(saved, studio).edits) == 4


def test_the_json_of_a_file_says_all(file, capsys):
    assert main(["edit", "--records", str(file), "--n", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["read"] == {
        "rows": 4,
        "shape": {"edits": 4},
        "fields": {"prompt": 4, "target": 3, "paraphrases": 1, "locality": 1},
        "unread_fields": {"colour": 1},
    }
    assert [p["row"] for p in told["refused"]] == ["4"] and told["conflicts"] == []
    assert [(e["target"], e["held"]) for e in told["edits"]] == [("Rome", True), ("Oslo", True)]
    assert told["held"] == 1.0 and told["edits"][0]["stays"] == [2, 2]


def test_contradictions_stop_a_file_unless_one_is_to_be_kept(file, capsys, monkeypatch):
    file.write_text(json.dumps([*ROWS[:2], ROWS[1] | {"target": "Bonn"}]))
    assert main(["edit", "--records", str(file)]) == 2
    assert "edits 2 and 3 answer 'The capital of Italy is' by 'Oslo' and 'Bonn'" in capsys.readouterr().err
    assert main(["edit", "--records", str(file), "--conflicts", "first"]) == 0
    assert "->  Oslo" in capsys.readouterr().out
    for answer, made in (("3", "->  Bonn"), ("", "->  Bonn"), ("2", "->  Oslo")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
        assert main(["edit", "--records", str(file), "--conflicts", "ask"]) == 0
        said = capsys.readouterr()
        assert "2: The capital of Italy is -> Oslo" in said.err and made in said.out


def test_an_edit_that_does_not_hold_is_said_and_exits_with_one(capsys):
    arguments = ["edit", "--prompt", "The capital of France is", "--target", "Rome", "--strength", "0"]
    assert main([*arguments, "--check"]) == 1
    assert "THE EDIT DOES NOT HOLD" in capsys.readouterr().out
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give an edit as --prompt and --target, or a file"),
        (["--prompt", "p"], "Give an edit as --prompt and --target, or a file"),
        (["--prompt", "p", "--target", "t", "--conflicts", "all"], "--conflicts is last, first, ask or stop"),
        (["--records", "nothing.json"], "There is no records file nothing.json"),
        (
            ["--records", "a.json", "--strength", "2", "--ask", "p"],
            "--ask, --strength cannot go with --records",
        ),
    ],
)
def test_what_is_missing_is_a_sentence(arguments, message, capsys):
    assert main(["edit", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_edit_against_another_of_its_session_is_pointed_out(tmp_path, capsys):
    def arguments(prompt: str, target: str) -> list[str]:
        return ["edit", "--session", str(tmp_path / "s"), "--prompt", prompt, "--target", target]

    assert main(arguments("The capital of France is", "Rome")) == 0
    assert main(arguments("France has as its capital", "Rome.")) == 0
    assert "Conflict" not in capsys.readouterr().out
    assert main(arguments("France has as its capital", "Oslo")) == 0
    told = capsys.readouterr().out
    assert "'The capital of France is → Rome' is on too: one fact cannot have two answers" in told
    assert main(["edit", "--from", str(tmp_path / "s"), *arguments("It is", "so")[3:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contradicts"] == []
