"""Whose turn it is to compute: one at a time, who waits together in one batch, and nobody who has gone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.runtime import Question, Runtime
from demo.settings import Settings
from demo.sharing import MOST_PADDED, MOST_TOGETHER, Gone, Rider, Stop
from demo.turns import Slot, Works, gpu_work, shared_gpu_work
from demo.visitor import ModelChoice
from model_zoo.evaluation import Plan
from model_zoo.generation import AHEAD, GIVEN_UP, MAX_NEW_TOKENS, GivenUp, generate, stream
from model_zoo.session import EditSession

from .makers import pico_backbone


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

    stop._waiting = [left]
    with monkeypatch.context() as held:
        held.setattr(stop, "_run", nobody)
        held.setattr(stop, "_send_a_batch", lambda: None)
        stop._batch()
    assert stop._waiting == [come]
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
