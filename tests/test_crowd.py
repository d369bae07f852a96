"""Many visitors: whose turn it is, what a file costs, what a session may hold."""

import pickle
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from demo import LAUNCH
from demo.api import EDIT
from demo.handlers import ASK, COMPUTE, LONG, MAPS
from demo.kept_edits import MOST, as_text
from demo.kept_edits import read as read_kept
from demo.runtime import Question, Runtime
from demo.settings import Settings
from demo.sharing import MOST_PADDED, MOST_TOGETHER, Gone, Rider, Stop
from demo.studios import MOST_LOADING
from demo.turns import Slot, Works, gpu_work, shared_gpu_work
from demo.visitor import ModelChoice, VisitorState
from model_zoo.benchmarks import read
from model_zoo.changes import Delta, LayerDelta
from model_zoo.evaluation import Plan
from model_zoo.generation import AHEAD, GIVEN_UP, MAX_NEW_TOKENS, GivenUp, generate, stream
from model_zoo.progress import Progress, no_progress
from model_zoo.request import EditRequest
from model_zoo.session import REMEMBERED, Edit, EditSession
from model_zoo.subjects import find_subject

from .makers import pico_backbone

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


# ---- turns -------------------------------------------------------------------------------------------------


def in_line(slot: Slot, name: str, order: list, begun: bool = False) -> threading.Thread:
    def work() -> None:
        with slot.turn(begun):
            order.append(name)

    before = slot.waiting
    thread = threading.Thread(target=work)
    thread.start()
    while slot.waiting == before:
        time.sleep(0.01)
    return thread


def test_turns_come_in_the_order_of_asking_and_who_has_begun_goes_on_first():
    slot, order = Slot(), []
    with slot.turn():
        names = {"a": False, "b": False, "begun": True, "begun later": True}
        threads = [in_line(slot, name, order, begun) for name, begun in names.items()]
    for thread in threads:
        thread.join()
    assert order == ["begun", "begun later", "a", "b"] and slot.waiting == 0


def test_who_has_gone_loses_the_turn_and_the_next_has_it():
    slot = Slot()
    with slot.turn():
        with pytest.raises(Gone), slot.turn(wanted=lambda: False):
            pass
    with slot.turn():
        pass


def test_who_comes_as_everybody_leaves_is_served(monkeypatch):
    stop = Stop(lambda steps, wanted: steps, lambda items: iter([items]), lambda n: None)
    left, come = Rider("left", 4), Rider("come", 4)
    left._left = True

    def nobody(steps, wanted):
        stop._waiting.append(come)  # between the last look and the end
        raise Gone
        yield

    monkeypatch.setattr(stop, "_run", nobody)
    stop._waiting = [left]
    batch = threading.Thread(target=stop._batch)
    with monkeypatch.context() as after:
        after.setattr(stop, "_send_a_batch", lambda: None)
        batch.start()
        batch.join()
    assert stop._waiting == [come]
    monkeypatch.setattr(stop, "_run", lambda steps, wanted: steps)
    stop._batch()
    assert list(come.results()) == ["come"]


class Counting(Works):
    """Works that note what they did."""

    def __init__(self):
        super().__init__(lambda function: function)
        self.done: list[str] = []

    @gpu_work
    def measure(self, n: int):
        for i in range(n):
            self.done.append(f"measure {i}")
            yield i

    @gpu_work
    def edit(self):
        self.done.append("edit")
        return "edited"

    @gpu_work
    def ask(self):
        raise ValueError("no")
        yield


def test_another_edit_comes_between_the_steps_of_a_long_work():
    works = Counting()
    long = works.measure(3)
    assert next(long) == 0 and works.edit() == "edited" and list(long) == [1, 2]
    assert works.done == ["measure 0", "edit", "measure 1", "measure 2"]


class Answering(Works):
    """Works that answer letter by letter and note how many shared each batch."""

    def __init__(self):
        super().__init__(lambda function: function)
        self.widths: list[int] = []

    @shared_gpu_work(size=len)
    def ask(self, choice, words: list[str]):
        self.widths.append(len(words))
        for i in range(3):
            if "bad" in words:
                raise ValueError("bad words")
            yield [word[: i + 1] for word in words]


def crowd_of(works: Answering, words: list[str]) -> list:
    """What each of a crowd is told: all ask while the model is taken, one behind the other."""

    def ask(word: str):
        try:
            return list(works.ask("atlas", word))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(words)) as pool:
        with works.slot.turn():
            futures = []
            for word in words:
                futures.append(pool.submit(ask, word))
                while len(works._stop("ask", "atlas")._waiting) < len(futures):
                    time.sleep(0.01)
        return [future.result() for future in futures]


def test_those_who_wait_share_the_next_batch_and_each_has_the_own_answer():
    works = Answering()
    words = [f"{i:03d}" for i in range(MOST_TOGETHER + 4)]
    assert crowd_of(works, words) == [[w[0], w[:2], w] for w in words]
    assert works.widths == [MOST_TOGETHER, 4]
    told = works.counters.to_dict()["work"]["ask"]
    assert told["done"] == len(words) and told["visitors_in_a_batch"] == {"mean": 10.0, "most": MOST_TOGETHER}


def test_one_bad_question_is_one_visitors_error():
    works = Answering()
    assert crowd_of(works, ["one", "bad", "two"]) == [["o", "on", "one"], "bad words", ["t", "tw", "two"]]
    assert works.widths == [3, 1, 1, 1]


def test_a_long_text_does_not_make_everybody_wait_for_its_padding():
    works = Answering()
    crowd_of(works, ["abc", "x" * MOST_PADDED, "def"])
    assert sorted(works.widths) == [1, 1, 1]


def test_a_generation_for_nobody_ends_at_the_next_token():
    backbone, asked = pico_backbone("gpt2"), []
    token = GIVEN_UP.set(lambda: asked.append(1) or len(asked) > 3)
    try:
        with pytest.raises(GivenUp):
            generate(backbone, ["one two"])
    finally:
        GIVEN_UP.reset(token)
    assert len(asked) <= 6 < MAX_NEW_TOKENS


def test_rows_of_one_batch_say_what_each_says_alone():
    """Sixteen visitors' questions, each under edits of their own."""
    runtime, choice = Runtime(Settings(device="cpu")), ModelChoice()
    studio = runtime.studio(choice)
    questions = []
    for place, target in (("France", "Rome"), ("Japan", "Cairo"), ("Peru", "Kiel")):
        request = studio.request("counterfact", f"The capital of {place} is", target)
        edit, _ = studio.propose(request, "instructedit")
        questions.append(Question(f"The capital of {place} is", EditSession().add(edit), True))
    alone = [list(runtime.ask(choice, question))[-1] for question in questions]
    *_, together = Runtime.ask.__wrapped__(runtime, choice, questions)
    assert together == alone and [after for _, after in alone] == ["Rome.", "Cairo.", "Kiel."]


def test_work_is_counted_by_how_it_ended():
    works = Counting()
    list(works.measure(2))
    left = works.measure(2)
    next(left)
    left.close()
    with pytest.raises(ValueError, match="no"):
        list(works.ask())
    told = works.counters.to_dict()["work"]
    assert told["measure"]["done"] == told["measure"]["gone"] == told["ask"]["failed"] == 1
    assert set(told["measure"]["seconds"]) == {"p50", "p95", "p99"}


def test_a_generation_whose_reader_has_gone_stops_within_its_lead():
    backbone = pico_backbone("gpt2")
    made = []
    whole = backbone.tokenizer.batch_decode
    backbone.tokenizer.batch_decode = lambda *a, **k: made.append(1) or whole(*a, **k)
    texts = stream(backbone, ["one two"])
    next(texts)
    time.sleep(0.5)
    held = len(made)
    texts.close()
    time.sleep(0.5)
    # two decodings a token: the streamer's and the one that looks for the end
    assert held <= 2 * (AHEAD + 3) and len(made) <= held + 2 < 2 * MAX_NEW_TOKENS


def test_an_evaluation_takes_a_turn_for_each_method_of_a_group():
    runtime, choice = Runtime(Settings(device="cpu")), ModelChoice()
    plan = Plan("atlas", ("ft-l", "none"), ("counterfact",), 2, most_probes=1)
    steps = [(done, total) for done, total, _ in runtime.measure(choice, plan)]
    assert steps == [(0, 1), (1, 1), (1, 1)]


def test_a_map_of_directions_takes_a_turn_for_each_batch_of_its_edits():
    runtime, choice = Runtime(Settings(device="cpu")), ModelChoice("atlas")
    steps = runtime.map(choice, [], "update", True, "")
    assert 0 < next(steps) < 1
    with runtime.slot.turn():  # others have theirs
        pass
    steps.close()


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
