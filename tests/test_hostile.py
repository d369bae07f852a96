"""Bad input through the real HTTP API: a sentence each, no traceback, and the server edits as before."""

import contextlib
import io
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from demo import LAUNCH
from demo.arguments import MOST_CHARACTERS
from demo.door import logins
from demo.tab_directions import in_words
from model_zoo.directions import ALL, DirectionMap

from .served_page import served_page

GOOD = ["atlas", "counterfact", "", "The capital of France is", "Rome", 1, "", "", "", True]
MODEL, TASK, INSTRUCTION, PROMPT, TARGET, STRENGTH, METHOD, EDITOR, SUBJECT, CHAT = range(10)
NAMES = "model task instruction prompt target strength method editor subject chat".split()
LONE, LONG = "\ud800 is", "word " * (MOST_CHARACTERS // 4)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_page(demo=False) as address:
        yield f"{address}/gradio_api"


def sent(address: str, body: bytes, kind: str = "application/json") -> tuple[int, str]:
    """(status, text) of a POST, or of the stream of the event that it began."""
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.loads(answer.read())
        event = said.get("event_id") if isinstance(said, dict) else None
        if event is None or "/call/" not in address:
            return 200, json.dumps(said)
        with urllib.request.urlopen(f"{address}/{event}", timeout=60) as stream:
            return 200, stream.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def called(url: str, endpoint: str, values: list) -> str:
    """The answer to these values, in the calling thread's own session."""
    body = {"data": values, "session_hash": f"thread-{threading.get_ident()}"}
    return sent(f"{url}/call/{endpoint}", json.dumps(body).encode())[1]


def told(text: str) -> str:
    """The one sentence of a refusal."""
    assert "event: complete" not in text, f"accepted: {text[:300]}"
    said = json.loads(text.partition("data: ")[2] if text.startswith("event") else text)
    message = said.get("error") or said.get("detail")
    assert isinstance(message, str) and 10 < len(message) < 1500, text[:300]
    assert "Something failed" not in message and "Traceback" not in message and "Errno" not in message
    return message


def edited(place: int, value: object) -> list:
    return [*GOOD[:place], value, *GOOD[place + 1 :]]


NO_TEXT = ([], {}, True, 5, [["deep"] * 3], {"a": None}, LONE)
BAD = [
    *((name, value) for name in (MODEL, TASK, PROMPT, TARGET) for value in (None, "")),
    *(
        (name, value)
        for name in (MODEL, TASK, INSTRUCTION, PROMPT, TARGET, METHOD, EDITOR, SUBJECT)
        for value in NO_TEXT
    ),
    *((name, LONG) for name in (MODEL, TASK, INSTRUCTION, PROMPT, TARGET, METHOD, EDITOR, SUBJECT)),
    *((name, "\u200b\u2060") for name in (MODEL, INSTRUCTION, PROMPT, TARGET, EDITOR, SUBJECT)),
    *((name, path) for name in (MODEL, EDITOR) for path in ("/etc", "/no/such/place", "../..", "a" * 5000)),
    *((STRENGTH, value) for value in (None, "abc", "1", [], {}, True, -1, 2.5, 1e300, float("nan"))),
    *((CHAT, value) for value in (None, "yes", 1, [], {})),
    *((TARGET, text) for text in ("😀", "罗马", "</s>", "\x00")),
    (TASK, "poetry"),
    (METHOD, "magic"),
    (SUBJECT, "Atlantis"),
    (PROMPT, json.loads("[" * 200 + "]" * 200)),
]


@pytest.fixture(scope="module")
def answers(url) -> tuple[list[str], str]:
    """The answers to all of BAD, sent by a crowd, and what the log says meanwhile."""
    with contextlib.redirect_stderr(io.StringIO()) as log, ThreadPoolExecutor(8) as crowd:
        texts = list(crowd.map(lambda bad: called(url, "edit", edited(*bad)), BAD))
    return texts, log.getvalue()


def named(n: int) -> str:
    return f"{NAMES[BAD[n][0]]}-{ascii(BAD[n][1])[:24]}"


@pytest.mark.parametrize("n", range(len(BAD)), ids=named)
def test_a_bad_value_is_refused_in_a_sentence(answers, n):
    told(answers[0][n])


def test_expected_refusals_leave_no_traceback_in_the_log(answers):
    assert "Traceback" not in answers[1]


@pytest.mark.parametrize("values", [[], GOOD[:1], GOOD[:6], [*GOOD, 1], [*GOOD, *GOOD], [None, *GOOD, 1]])
def test_too_few_or_too_many_values_are_refused_with_their_names(url, values):
    assert "prompt, target, strength" in told(called(url, "edit", values))


@pytest.mark.parametrize("value", [None, "", " ", "\u200b", [], {}, 3, LONE, LONG])
def test_a_bad_question_is_refused(url, value):
    told(called(url, "ask", [value, True]))


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("/call/edit", b"not json", 422),
        ("/call/edit", b"[]", 422),
        ("/call/edit", b'{"data": 5}', 422),
        ("/call/edit", b"{}", 422),
        ("/call/edit", b'{"data": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}", 400),
        ("/call/edit", b'{"data": ["' + b"x" * 2_000_000 + b'"]}', 413),
        ("/call/magic", b'{"data": []}', 404),
        ("/queue/join", b'{"data": [], "fn_index": 999, "session_hash": "a"}', 404),
        ("/queue/join", b'{"data": [], "fn_index": "x", "session_hash": "a"}', 422),
        ("/queue/join", b'{"data": [], "session_hash": "a"}', 400),
        ("/run/magic", b'{"data": []}', 404),
    ],
)
def test_a_malformed_request_is_refused_in_a_sentence(url, route, body, status, capfd):
    code, text = sent(url + route, body)
    assert code == status
    told(text)
    assert "Traceback" not in capfd.readouterr().err


def test_the_log_repeats_no_input(url, capfd):
    called(url, "edit", edited(PROMPT, "marmalade " * 500))
    called(url, "edit", edited(STRENGTH, "marmalade"))
    captured = capfd.readouterr()
    assert "marmalade" not in captured.out + captured.err


def test_what_may_be_left_out_has_its_default_and_the_server_edits_as_before(url):
    for values in (GOOD[:7], GOOD, edited(INSTRUCTION, None), edited(EDITOR, None), edited(SUBJECT, None)):
        text = called(url, "edit", values)
        report = json.loads(text.rpartition("event: complete\ndata: ")[2].partition("\n")[0])[0]
        assert report["held"] and report["after"] == "Rome."


def test_a_model_that_is_named_like_html_is_text_beside_the_map():
    drawn = DirectionMap("update", True, ALL, (), (0.1, 0.1, 0.1), 0.0, 0.0)
    assert "<img" not in in_words(drawn, "<img src=x> was not taught")


def test_health_tells_numbers_and_no_text(url):
    with urllib.request.urlopen(url.removesuffix("/gradio_api") + "/health", timeout=60) as answer:
        told = json.loads(answer.read())
    assert told["status"] == "ok" and told["work"]["edit"]["done"] >= 5 and told["sessions"] > 0
    assert "France" not in json.dumps(told)


def test_a_page_whose_session_is_gone_is_told_so(url):
    """What a page sends after a restart: a private event, in a session in which it was never loaded."""
    with urllib.request.urlopen(url.removesuffix("/gradio_api") + "/config", timeout=60) as answer:
        config = json.loads(answer.read())
    undo = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "undo")
    event = next(d for d in config["dependencies"] if [undo, "click"] in d["targets"])
    body = {"data": [None], "fn_index": event["id"], "session_hash": "stranger"}
    sent(f"{url}/queue/join", json.dumps(body).encode())
    with urllib.request.urlopen(f"{url}/queue/data?session_hash=stranger", timeout=60) as stream:
        assert "no longer here" in stream.read().decode()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("ann secret", "Line 1 .* is not NAME:PASSWORD"), ("ann:one\n\n:two", "Line 3"), ("\n", "names nobody")],
)
def test_a_file_of_logins_that_is_wrong_is_told_without_its_words(tmp_path, text, wrong):
    (tmp_path / "people").write_text(text)
    with pytest.raises(ValueError, match=wrong) as refusal:
        logins(tmp_path / "people")
    assert "secret" not in str(refusal.value)
    with pytest.raises(ValueError, match="cannot be read as names"):
        logins(tmp_path)


def test_who_is_not_named_stays_outside(tmp_path):
    """The page itself with --auth: nothing but health answers before the login."""
    (tmp_path / "people").write_text("ann:a:b c\n")
    page = gr.Blocks()
    with page:
        gr.Textbox()
    page.launch(
        auth=logins(tmp_path / "people"),
        prevent_thread_lock=True,
        quiet=True,
        app_kwargs=LAUNCH["app_kwargs"],
    )
    root = page.local_url.rstrip("/")

    def status(path: str, cookie: str = "") -> int:
        request = urllib.request.Request(root + path, headers={"Cookie": cookie})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    try:
        assert status("/config") == 401
        body = urllib.parse.urlencode({"username": "ann", "password": "a:b c"}).encode()
        with urllib.request.urlopen(urllib.request.Request(root + "/login", body), timeout=20) as answer:
            cookie = "; ".join(value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie"))
        assert status("/config", cookie) == 200
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(
                urllib.request.Request(root + "/login", body.replace(b"ann", b"bob")), timeout=20
            )
    finally:
        page.close(verbose=False)
