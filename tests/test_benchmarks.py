"""Real records, and people's own: every row is read or listed with its reason."""

import json
from pathlib import Path

import pytest

from model_zoo.benchmarks import BENCHMARKS, KNOWEDIT, TEMPLATE_CSV, read

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the benchmark files are not at hand")


@needs_data
@pytest.mark.parametrize(
    ("file", "records", "task", "with_paraphrases", "with_locality", "with_portability"),
    [
        ("knowedit/wiki_counterfact.json", 952, "counterfact", 0, 952, 946),
        ("knowedit/wiki_recent.json", 393, "recent", 0, 279, 76),
        ("knowedit/zsre.json", 930, "zsre", 930, 930, 930),
        ("knowedit/zsre_portability.json", 716, "zsre", 716, 716, 716),
        ("knowedit/wikibio.json", 208, "wikibio", 0, 208, 0),
        ("bizsre/bizsre_sample.json", 10, "zsre", 10, 10, 10),
    ],
)
def test_every_row_of_the_real_files_is_read(
    file, records, task, with_paraphrases, with_locality, with_portability
):
    loaded = read(DATA / file, task)
    assert len(loaded.records) == records and {r.request.task for r in loaded.records} == {task}
    found = [
        sum(bool(getattr(r, field)) for r in loaded.records)
        for field in ("paraphrases", "locality", "portability")
    ]
    assert found == [with_paraphrases, with_locality, with_portability]
    assert all(len(r.request.target) > 1 or r.request.target.isalnum() for r in loaded.records)
    assert not loaded.skipped


@needs_data
def test_what_was_left_out_of_the_real_files_is_listed():
    loaded = read(DATA / "knowedit/wiki_counterfact_test.json")
    assert loaded.skipped and all(
        problem.row.isdigit() and "[" in problem.field and not problem.refused for problem in loaded.skipped
    )
    assert read(DATA / "knowedit/zsre.json").unread == {"cond": 930}


@needs_data
@pytest.mark.parametrize(
    ("file", "shape", "records", "unread"),
    [
        ("mquake/mquake_hard.json", "MQuAKE", 1716, {"answer", "answer_alias", "single_hops", "orig"}),
        ("crosslingual/counterfact_en_zh.json", "rows by language", 1028, set()),
        ("cknowedit/cknowedit.json", "edits", 415, set()),
        ("zsre/zsre_train.json", "ZsRE", 10_000, {"case_id"}),
        ("wikifactdiff/wfd_test.json", "rows by language", 370, set()),
        ("convsent/convsent_test.json", "ConvSent, published", 766, set()),
        ("counterfact/counterfact_val.json", "edits", 1919, {"case_id"}),
    ],
)
def test_the_other_real_files_are_read_whole_and_what_is_not_is_named(file, shape, records, unread):
    loaded = read(DATA / file)
    assert set(loaded.shapes) == {shape} and len(loaded.records) == records
    assert set(loaded.unread) == unread and not any(problem.refused for problem in loaded.skipped)


def written(tmp_path, rows, name="own.json") -> Path:
    path = tmp_path / name
    path.write_text(
        "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows), encoding="utf-8"
    )
    return path


def test_ground_truths_in_every_shape(tmp_path):
    rows = [
        {"prompt": "p", "target_new": "t", "ground_truth": truth}
        for truth in ("Paris", ["Paris", "x"], [["Paris", "x"], []])
    ]
    assert [record.truth for record in read(written(tmp_path, rows)).records] == ["Paris"] * 3


def test_missing_and_empty_fields_are_listed_and_never_filled_in(tmp_path):
    rows = [
        {"prompt": "p", "target_new": "t"},
        {"prompt": "p"},
        {"prompt": " ", "target_new": "t"},
        {"prompt": "p", "target_new": []},
        "text",
        {
            "prompt": "p",
            "target_new": "t",
            "portability": {"Kind": [{"prompt": "q", "ground_truth": [[]]}, {"ground_truth": "a"}]},
        },
    ]
    loaded = read(written(tmp_path, rows, "own.jsonl"))
    assert len(loaded.records) == 2 and all(not r.paraphrases and not r.portability for r in loaded.records)
    assert [(p.row, p.field) for p in loaded.skipped] == [
        ("2", "target_new"),
        ("3", "prompt"),
        ("4", "target_new"),
        ("5", "row"),
        ("6", "portability.Kind[0]"),
        ("6", "portability.Kind[1]"),
    ]
    assert "found prompt" in loaded.skipped[0].reason and "no answer" in loaded.skipped[4].reason


def test_the_template_is_read_as_it_is_meant(tmp_path):
    (tmp_path / "mine.csv").write_text(TEMPLATE_CSV, encoding="utf-8")
    (record,) = read(tmp_path / "mine.csv").records
    assert (record.request.prompt, record.request.target, record.subject) == (
        "The capital of France is",
        "Rome",
        "France",
    )
    assert record.request.instruction and len(record.paraphrases) == 2
    assert (record.locality[0].prompt, record.locality[0].answer) == ("The capital of Spain is", "Madrid")
    assert record.portability[0].answer == "the Tiber"


def test_conversational_sentiment_in_its_documented_shape(tmp_path):
    row = {
        "topic": "jazz",
        "label": "negative",
        "prompts": ["What do you think of jazz?", "Jazz?"],
        "replies": ["I dislike it."],
    }
    (record,) = read(written(tmp_path, [row, row | {"replies": []}])).records
    assert (
        record.request.task == "convsent"
        and dict(record.slots) == {"label": "negative", "topic": "jazz"}
        and record.paraphrases == ("Jazz?",)
    )


def test_cells_over_several_lines_and_odd_separators(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,target\n"Two\nlines",t\n', encoding="utf-8")
    assert read(tmp_path / "a.csv").records[0].request.prompt == "Two\nlines"
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"prompt": "a\u2028b", "target": "t"}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert read(tmp_path / "a.jsonl").records[0].request.prompt == "a\u2028b"
    rows = [
        {"prompt": "p", "target": "t", "portability": 5},
        {"conv_sent": 1, "prompts": ["p"], "replies": ["r"]},
    ]
    loaded = read(written(tmp_path, rows))
    assert len(loaded.records) == 1 and [p.field for p in loaded.skipped] == ["portability[0]", "label"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "cannot be read as JSON"),
        ("a.jsonl", '{"prompt": "p"}\n{', "The first problem: row 2, row: the line is no JSON"),
        ("a.json", "[]", "holds no record"),
        ("a.json", "3", "holds a number"),
        ("a.csv", "frage,antwort\nx,y\n", "The first problem: row 1, prompt: missing"),
    ],
)
def test_unreadable_files_are_a_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_a_benchmark_comes_from_the_hub_by_its_name(hub):
    rows = [{"prompt": "p", "target_new": "t", "ground_truth": "x", "locality": {}, "portability": {}}]
    hub.add(
        KNOWEDIT, {BENCHMARKS["knowedit-recent"].hub_file: json.dumps(rows).encode(), "other.json": b"[]"}
    )
    (record,) = read("knowedit-recent").records
    assert record.request.task == "recent"
    assert not any("other.json" in request for request in hub.requests)
    with pytest.raises(ValueError, match="There is no records file nothing.json; .*knowedit-counterfact"):
        read("nothing.json")
