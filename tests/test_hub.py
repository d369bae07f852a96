"""The Hub's client over real HTTP: pinned, cached, private, and every fault as one sentence."""

import re
import threading

import pytest

from model_zoo.hub import HubError, fetch, publish, search

from .conftest import HUB
from .hub_server import Hub

NAME, FILES = (
    "someone/thing",
    {"config.json": b"{}", "model.safetensors": b"weights" * 5000, "model.bin": b"pickle", "notes.md": b"n"},
)
PATTERNS = ["*.json", "*.safetensors"]


def refused(hub: Hub, action, message: str, questions: int = 1) -> None:
    """The action fails with this one sentence, after so many questions and no retry: that is what makes it
    quick.
    """
    before = len(hub.requests)
    with pytest.raises(HubError, match=message) as found:
        action()
    assert len(hub.requests) - before <= questions
    assert "\n" not in str(found.value)


def test_only_the_patterns_are_fetched_at_a_commit(hub):
    commit = hub.add(NAME, FILES)
    snapshot = fetch(NAME, PATTERNS)
    assert snapshot.commit == commit and {p.name for p in snapshot.folder.iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    assert (snapshot.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not any("model.bin" in request for request in hub.requests)


def test_cached_and_pinned_makes_no_request(hub):
    commit = hub.add(NAME, FILES)
    fetch(NAME, PATTERNS)
    hub.requests.clear()
    assert fetch(f"{NAME}@{commit}", PATTERNS).commit == commit
    assert hub.requests == []


def test_a_pinned_revision_stays_while_the_branch_moves(hub):
    old = hub.add(NAME, FILES)
    fetch(NAME, PATTERNS)
    new = hub.add(NAME, {"config.json": b'{"new": 1}'})
    assert (fetch(NAME, PATTERNS).folder / "config.json").read_bytes() == b'{"new": 1}'
    assert (fetch(NAME, PATTERNS, revision=old).folder / "config.json").read_bytes() == b"{}"
    assert fetch(NAME, PATTERNS).commit == new


def test_without_a_network_the_cache_serves_and_the_rest_says_so(hub):
    hub.add(NAME, FILES)
    fetch(NAME, PATTERNS)
    HUB.stop()
    assert (fetch(NAME, PATTERNS).folder / "config.json").exists()
    refused(hub, lambda: fetch("someone/else", PATTERNS), "cannot be reached")
    refused(hub, lambda: search("tag"), "cannot be reached")


def test_a_download_that_broke_off_is_not_taken_for_whole(hub):
    commit = hub.add(NAME, FILES)
    folder = fetch(NAME, PATTERNS).folder
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    assert (fetch(NAME, PATTERNS, revision=commit).folder / "model.safetensors").exists()


def test_private_gated_missing(hub, monkeypatch):
    hub.add(NAME, FILES, token="secret")
    hub.add("someone/gated", FILES, gated=True)
    refused(hub, lambda: fetch(NAME, PATTERNS), "not found on .* private and no token is set")
    refused(hub, lambda: fetch("no/thing", PATTERNS), "not found")
    refused(hub, lambda: fetch("someone/gated", PATTERNS), "gated: accept its terms")
    refused(hub, lambda: fetch("what is this", PATTERNS), "neither a folder here nor a Hub repo id")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    refused(hub, lambda: fetch(NAME, PATTERNS), "has no access")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert fetch(NAME, PATTERNS).folder.exists()


def test_an_unknown_revision_and_the_wrong_kind_of_repo(hub):
    hub.add(NAME, {"notes.md": b"n"})
    refused(hub, lambda: fetch(NAME, PATTERNS, revision="v9"), "no revision 'v9'")
    refused(hub, lambda: fetch(NAME, PATTERNS), "none of the files needed")


def test_a_failing_and_a_slow_server(hub):
    hub.add(NAME, FILES)
    hub.fail["/api/models"] = 500
    refused(hub, lambda: fetch(NAME, PATTERNS), "answered 500")
    hub.fail.clear()
    hub.delay = 3
    refused(hub, lambda: fetch(NAME, PATTERNS), "did not answer in time")


@pytest.mark.parametrize(
    "name", ["../../outside.json", "/etc/outside.json", "a/../../outside.json", "..\\outside.json"]
)
def test_hostile_file_names_are_refused(hub, name):
    hub.add(NAME, FILES | {name: b"{}"})
    refused(hub, lambda: fetch(NAME, PATTERNS), "outside its folder")


def test_a_file_with_the_wrong_hash_is_removed(hub):
    hub.add(NAME, FILES)
    hub.corrupt = ".safetensors"
    refused(
        hub,
        lambda: fetch(NAME, PATTERNS),
        "arrived broken: it is not what the Hub's checksum says",
        questions=6,
    )
    hub.corrupt = None
    assert (fetch(NAME, PATTERNS).folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_truncated_file_is_not_kept(hub):
    hub.add(NAME, FILES)
    hub.truncate = ".safetensors"
    with pytest.raises(HubError):
        fetch(NAME, PATTERNS)
    hub.truncate = None
    assert (fetch(NAME, PATTERNS).folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_file_that_the_disk_cannot_hold_is_told_before_anything_is_downloaded(hub):
    hub.add(NAME, FILES)
    hub.announce["model.safetensors"] = 10**16
    refused(
        hub, lambda: fetch(NAME, PATTERNS), r"needs 10000000.0 GB on disk, and .* has [\d.]+ (GB|MB) free"
    )
    assert not any("/resolve/" in request for request in hub.requests)


def test_progress_is_told_and_can_stop_the_download(hub):
    hub.add(NAME, FILES)
    seen = []
    fetch(NAME, PATTERNS, report=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] >= len(FILES["model.safetensors"])

    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    hub.add("someone/other", FILES)
    with pytest.raises(Stop):
        fetch("someone/other", PATTERNS, report=stop)
    assert threading.active_count() < 40


def test_push_and_pull_back(hub, tmp_path, monkeypatch):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    refused(
        hub,
        lambda: publish(tmp_path, "me/editor", list(FILES)),
        "private and no token|no token is set|not found",
        questions=2,
    )
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    commit = publish(tmp_path, "me/editor", ["config.json", "model.safetensors"])
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    snapshot = fetch("me/editor", PATTERNS)
    assert snapshot.commit == commit
    assert (snapshot.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert "model.bin" not in hub.repos["me/editor"].files
