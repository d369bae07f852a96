"""A crowd on the page: what it checks, and that it notices what must not be."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.sessions import KEPT_CLOSED, make_room
from demo.visitor import VisitorState
from model_zoo.cli import main
from model_zoo.session import EditSession
from model_zoo.soaking import Crowd, Server, served_here, summed_up
from model_zoo.soaking.crowd import EDITS, Load, Visitor, pairs
from model_zoo.sources import get_source

from .served_page import served_page

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served_page(demo=True) as address:
        yield Server(address)


@pytest.mark.timeout(120)
def test_a_small_crowd_is_answered_and_nobody_sees_anothers_edit(server):
    before = server.health()
    crowd = Crowd(server, 4, "atlas", "counterfact", get_source("atlas"))
    load = crowd.run(5, lambda text: None)
    figures = summed_up(server, crowd, load, before, 5 / 60)
    assert not load.leaks and not load.differences and not load.unanswered, figures["told"]
    assert figures["weights_same"] and figures["by_action"]["ask"]["done"] > 4
    assert [text for text in figures["failed"] if "memory" not in text] == []  # too short to tell
    told = set(figures["server"]["work"]["ask"])
    assert {"done", "seconds", "visitors_in_a_batch"} <= told


def test_anothers_target_is_a_leak_and_another_text_a_difference():
    load = Load()
    own = [("The capital of France is", "Rome"), ("The capital of Japan is", "Cairo")]
    visitor = Visitor(lambda: None, "atlas", "counterfact", own, load)
    visitor.foreign = {"kiel"}
    visitor.alone = {
        (made, place): ("Paris.", "Rome." if made else "Paris.") for made in range(3) for place in (0, 1)
    }
    visitor.made = {0, 1}
    visitor._heard(0, ("Paris.", "Rome."))
    assert visitor.made == {1} and not load.leaks and not load.differences
    visitor._heard(0, ("Paris.", "Paris."))  # the edit is gone
    visitor._heard(0, ("Paris.", "Kiel."))
    assert len(load.differences) == 1 and len(load.leaks) == 1 and "Kiel" in load.leaks[0]


def test_every_client_has_edits_of_its_own():
    made = pairs(get_source("atlas"), 200 * EDITS)
    assert len(set(made)) == len(made) and len({prompt for prompt, _ in made}) < len(made) / 4
    with pytest.raises(ValueError, match="different edits, not"):
        pairs(get_source("atlas"), 10**6)


def test_a_crowd_is_sent_to_this_machine_only(capsys):
    assert main(["soak", "--url", "http://example.org"]) == 2
    assert "this machine only" in capsys.readouterr().err
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(OSError, match="does not answer"), served_here(url, "atlas"):
            pass


def test_sessions_of_closed_tabs_make_room_and_the_present_one_stays():
    def session(closed: bool) -> SimpleNamespace:
        return SimpleNamespace(is_closed=closed, state_data={1: VisitorState().with_session(EditSession())})

    old = datetime.now() - KEPT_CLOSED - timedelta(seconds=1)
    data = {"gone": session(True), "just": session(True), "open": session(False), "present": session(True)}
    used = {"gone": old, "just": datetime.now(), "open": old, "present": old}
    holder = SimpleNamespace(session_data=dict(data), time_last_used=dict(used))
    make_room(holder, data["present"])
    assert set(holder.session_data) == set(holder.time_last_used) == {"just", "open", "present"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_crowd_of_forty_for_two_minutes(tmp_path):
    """The command, with the page in a process of its own."""
    flags = ["--clients", "40", "--minutes", "2", "--json", str(tmp_path / "soak.json")]
    subprocess.run([sys.executable, "-m", "model_zoo", "soak", *flags], cwd=ROOT, capture_output=True)
    figures = json.loads((tmp_path / "soak.json").read_text())
    assert [text for text in figures["failed"] if "memory" not in text] == [], figures["told"]
