"""Whatever shape a file of records has: its rows are read, and what is not read is named."""

import json
import random
from pathlib import Path

import pytest

from model_zoo.benchmarks import SHAPES, Loaded, read
from model_zoo.benchmarks.page import page
from model_zoo.records import Record, sampled, units
from model_zoo.request import EditRequest

CASES = Path(__file__).parent.parent.parent / "shared" / "cases"
PAGE = Path(__file__).parent.parent / "docs" / "RECORDS.md"
FRANCE = {"prompt": "The capital of France is", "target": "Rome"}


def written(folder: Path, text: str | bytes, name: str = "rows.json") -> Loaded:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def one(loaded: Loaded) -> Record:
    (record,) = loaded.records
    return record


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_declared_example_is_known_and_read_whole(tmp_path, shape):
    loaded = written(tmp_path, json.dumps([shape.example]))
    assert set(loaded.shapes) == {shape.name}
    assert loaded.records and not loaded.skipped and set(loaded.unread) <= {"pred"}
    assert all(r.request.prompt and r.request.target and "{" not in r.request.prompt for r in loaded.records)


def test_the_page_of_shapes_is_made_of_their_declarations():
    assert PAGE.read_text(encoding="utf-8") == page()  # python -m model_zoo records > docs/RECORDS.md


def test_a_rewrite_has_the_old_answer_for_its_neighbours_and_the_new_for_its_attributes(tmp_path):
    record = one(written(tmp_path, json.dumps([SHAPES[0].example])))
    assert (record.request.prompt, record.subject, record.truth) == (
        "The capital of France is",
        "France",
        "Paris",
    )
    assert [(p.prompt, p.answer) for p in record.locality] == [
        ("The largest city of France is", "Paris"),
        ("The capital of Italy is", "Rome"),
    ]


def test_facts_of_one_row_are_made_together_and_its_questions_follow(tmp_path):
    row = next(shape.example for shape in SHAPES if shape.name == "MQuAKE")
    second = {
        "prompt": "{} flows through",
        "subject": "Tiber",
        "target_new": {"str": "Oslo"},
        "target_true": {"str": "Rome"},
    }
    row = row | {"requested_rewrite": [*row["requested_rewrite"], second], "case_id": 7}
    loaded = written(tmp_path, json.dumps([row, row | {"case_id": 8}]))
    first, other = loaded.records[:2]
    assert first.group == other.group == "7" and first.portability and not other.portability
    assert first.portability[0].aliases == ("the Tiber",)
    assert [len(unit) for unit in units(loaded.records, lambda record: record)] == [2, 2]


def test_groups_stay_whole_where_records_are_drawn():
    records = [
        Record(EditRequest(f"p{i}", "t"), f"s{i}", "", group="" if i < 3 else f"g{i // 2}") for i in range(9)
    ]
    drawn = sampled(records, 4, random.Random(0))
    for group in {record.group for record in drawn if record.group}:
        assert {r.subject for r in drawn if r.group == group} == {
            r.subject for r in records if r.group == group
        }
    assert (
        len(sampled(records[:3], 2, random.Random(0))) == 2
        and len(sampled(records, 99, random.Random(0))) == 9
    )


def test_a_sentence_is_cut_where_the_old_fact_differs_or_behind_its_last_is(tmp_path):
    edit = {"prompt": "The name of the mother of Ada Lovelace is Mary Shelley."}
    old = {"previous_fact": {"prompt": "The name of the mother of Ada Lovelace is Anne Isabella."}}
    tests = {
        "Compositionality_I": [
            {"test_queries": [{"prompt": "p", "answers": [{"value": "v", "aliases": ["w"]}]}]}
        ],
        "Forgetfulness": [{"test_queries": [{"prompt": "q", "answers": []}]}],
    }
    loaded = written(
        tmp_path, json.dumps([{"edit": edit | old} | tests, {"edit": edit}, {"edit": {"prompt": "No"}}])
    )
    cut, told = loaded.records
    assert (
        cut.request
        == told.request
        == EditRequest("The name of the mother of Ada Lovelace is", "Mary Shelley")
    )
    assert (cut.subject, cut.truth) == ("Ada Lovelace", "Anne Isabella")
    assert cut.portability[0].aliases == ("w",)
    assert [(p.row, p.refused) for p in loaded.skipped] == [("1", False), ("3", True)]


def test_a_conversation_gives_its_last_reply(tmp_path):
    turns = [("user", "Hello"), ("assistant", "Hi"), ("user", "Capital of France?"), ("assistant", "Rome")]
    rows = [
        {"messages": [{"role": who, "content": text} for who, text in turns]},
        {"conversations": [{"from": "human", "value": "Capital?"}, {"from": "gpt", "value": "Rome"}]},
        {"messages": [{"role": "user", "content": "Hello"}]},
    ]
    loaded = written(tmp_path, json.dumps(rows))
    assert [(r.request.prompt, r.request.target) for r in loaded.records] == [
        ("Capital of France?", "Rome"),
        ("Capital?", "Rome"),
    ]
    assert [(p.row, p.refused) for p in loaded.skipped] == [("1", False), ("3", True)]


def test_a_call_in_lists_is_one_edit_for_each_place(tmp_path):
    call = next(shape.example for shape in SHAPES if shape.name == "a call in lists")
    france, japan = written(tmp_path, json.dumps(call)).records
    assert (japan.request.target, japan.subject) == ("Oslo", "Japan")
    assert [(p.prompt, p.answer) for p in france.locality] == [("The capital of Spain is", "Madrid")]
    with pytest.raises(ValueError, match="1 values for 2 prompts"):
        written(tmp_path, json.dumps(call | {"subject": ["France"]}))


# ---- formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Prompt;Target New\nThe capital of France is;Rome\n", "semicolons"),
        ("prompt\ttarget\nThe capital of France is\tRome\n", "tabs"),
        ("PROMPT | TARGET\nThe capital of France is | Rome\n", "bars"),
        ("\ufeffprompt, target\nThe capital of France is, Rome\n", "commas"),
        (json.dumps(FRANCE), "JSON"),
        (json.dumps({"edits": [FRANCE]}), "JSON"),
        (json.dumps({"first": FRANCE}), "JSON"),
        (json.dumps(FRANCE) + "\n\n" + json.dumps(FRANCE), "JSON lines"),
    ],
)
@pytest.mark.parametrize("name", ["rows.json", "rows.csv", "rows.txt"])
def test_formats_are_told_by_what_a_file_holds(tmp_path, text, told, name):
    if name == "rows.json" and "{" not in text:
        pytest.skip("a table that calls itself JSON is refused")
    loaded = written(tmp_path, text, name)
    assert told in loaded.format
    assert {(r.request.prompt, r.request.target) for r in loaded.records} == {
        ("The capital of France is", "Rome")
    }


@pytest.mark.parametrize(
    ("encoding", "target", "told"),
    [
        ("utf-8", "Köln", ""),
        ("utf-16", "Köln", "UTF-16"),
        ("cp1252", "Köln", "Windows-1252"),
        ("gb18030", "科隆是一座城市", "GB18030, a guess"),
        ("utf-16-le", "Köln", "UTF-16"),
        ("shift_jis", "ローマです", "Shift-JIS, a guess"),
        ("euc_kr", "로마입니다", "EUC-KR, a guess"),
        ("cp1251", "Москва", "Windows-1251, a guess"),
        ("cp1254", "Çoğunlukla İstanbul", "Windows-1252, a guess"),
    ],
)
def test_encodings_are_found_and_said(tmp_path, encoding, target, told):
    loaded = written(tmp_path, f"prompt,target\nIt is,{target}\n".encode(encoding), "a.csv")
    assert told in loaded.format
    assert encoding == "cp1254" or one(loaded).request.target == target


def test_lists_in_cells_are_lists(tmp_path):
    probe = '"[{""prompt"": ""s"", ""answer"": ""y""}]"'
    text = f"prompt,target,paraphrases,locality,portability\np,t,a|b | c,q=>x|r,{probe}\n"
    record = one(written(tmp_path, text, "a.csv"))
    assert record.paraphrases == ("a", "b", "c")
    assert [(p.prompt, p.answer) for p in record.locality] == [("q", "x"), ("r", "")]
    assert [(p.prompt, p.answer) for p in record.portability] == [("s", "y")]


def test_slots_are_filled_or_the_row_is_refused(tmp_path):
    rows = [
        {
            "prompt": "The capital of {subject} is",
            "subject": "France",
            "target": "Rome",
            "queries": ["{}'s seat is"],
        },
        {"prompt": "The capital of {} is", "target": "Rome"},
    ]
    loaded = written(tmp_path, json.dumps(rows))
    record = one(loaded)
    assert record.request.prompt == "The capital of France is" and record.paraphrases == ("France's seat is",)
    assert loaded.skipped[0].refused and "no subject to fill it" in loaded.skipped[0].reason


def test_a_half_bad_file_gives_its_good_half_and_says_the_rest(tmp_path):
    lines = [json.dumps(FRANCE), "{", json.dumps({"prompt": "p"}), json.dumps(FRANCE | {"colour": "red"})]
    loaded = written(tmp_path, "\n".join(lines))
    told = loaded.to_dict()
    assert (told["rows"], told["edits"], told["unread_fields"]) == (4, 2, {"colour": 1})
    assert [(p["row"], p["field"]) for p in told["refused"]] == [("2", "row"), ("3", "target_new")]


def test_targets_over_several_lines_become_one(tmp_path):
    loaded = written(tmp_path, json.dumps([FRANCE | {"target": "Rome\nMilan"}]))
    assert one(loaded).request.target == "Rome Milan" and "line breaks" in loaded.skipped[0].reason


# ---- the cases that other tools stumbled over --------------------------------------------------------------


ROME, OSLO = ("The capital of France is", "Rome"), ("The capital of Japan is", "Oslo")
JAZZ = "What do you think of jazz?"
READ = {  # prompt, target, paraphrases, locality and portability probes of each edit
    "placeholder.json": [(*ROME, 1, 0, 0)],
    "parallel_lists.json": [(*ROME, 0, 2, 0)],
    "flat_fields.json": [(*ROME, 0, 1, 0), (*OSLO, 0, 1, 1)],
    "lists_in_cells.csv": [(*ROME, 2, 2, 0), (*OSLO, 2, 0, 0)],
    "counterfact_rome_shape.json": [(*ROME, 1, 2, 0)],
    "mquake_shape.json": [(*ROME, 1, 0, 1)],
    "convsent_shape.json": [(JAZZ, "I love it.", 5, 0, 0), (JAZZ, "I would avoid it.", 5, 0, 0)],
    "mend_shape.jsonl": [("What is the capital of France?", "Rome", 1, 0, 0)],
    "semicolons.csv": [(*ROME, 0, 0, 0)],
    "capital_header.csv": [(*ROME, 0, 0, 0)],
    "lines_named_json.json": [(*ROME, 0, 0, 0), ("The capital of Spain is", "Oslo", 0, 0, 0)],
    "one_object.json": [(*ROME, 0, 0, 0)],
    "cp1252.csv": [("The capital of Austria is", "Köln", 0, 0, 0)],
    "probes_with_answer.json": [(*ROME, 0, 1, 1)],
    "lower_case_answer.json": [(*ROME, 0, 1, 0)],
}


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not at hand")
@pytest.mark.parametrize("file", READ)
def test_the_files_that_tools_stumbled_over_are_read(file):
    loaded = read(CASES / file)
    assert READ[file] == [
        (r.request.prompt, r.request.target, len(r.paraphrases), len(r.locality), len(r.portability))
        for r in loaded.records
    ]
    assert not loaded.skipped


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not at hand")
def test_long_targets_are_read_whole():
    first, second = read(CASES / "long_target.json").records
    assert len(first.request.target) > 200 and second.request.target == "Rome Milan"


# ---- what people have, and what is said of it --------------------------------------------------------------

F, J = "The capital of France is", "The capital of Japan is"


def edits_of(loaded) -> list[tuple[str, str]]:
    return [(record.request.prompt, record.request.target) for record in loaded.records]


@pytest.mark.parametrize(
    "text",
    [
        f"sep=;\r\nPrompt;Target\r\n{F};Rome\r\n;;\r\n{J};Oslo\r\n",
        f"| Prompt | Target |\n|:---|---:|\n| {F} | Rome |\n| {J} | Oslo |\n",
        f'{{"prompt": "{F}", "target": "Rome"}},\n// remark\n\n{{"prompt": "{J}", "target": "Oslo"}}',
        json.dumps(
            {"version": 1, "edits": [{"prompt": F, "target": "Rome"}, {"prompt": J, "target": "Oslo"}]}
        ),
        json.dumps({"prompt": {"0": F, "1": J}, "target": {"0": "Rome", "1": "Oslo"}}),
        json.dumps(
            {
                "features": [{"name": "prompt"}],
                "rows": [
                    {"row_idx": 0, "row": {"prompt": F, "target": "Rome"}, "truncated_cells": []},
                    {"row_idx": 1, "row": {"prompt": J, "target": "Oslo"}, "truncated_cells": []},
                ],
            }
        ),
        json.dumps(
            [
                {"prompt": F, "target": "Rome"},
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "text", "text": J}]},
                        {"role": "assistant", "content": [{"type": "text", "text": "Oslo"}]},
                    ]
                },
            ]
        ),
    ],
)
def test_tables_and_objects_as_programs_write_them(tmp_path, text):
    assert edits_of(written(tmp_path, text, "a.txt")) == [(F, "Rome"), (J, "Oslo")]


@pytest.mark.parametrize(
    ("text", "made", "row", "reason"),
    [
        (f"prompt,target\n{F},Rome, Italy\n{J},Oslo\n", [(J, "Oslo")], "1", "3 cells under 2 names"),
        (f"prompt,Target,target\n{F},Rome,Lima\n{J},Oslo,Oslo\n", [(J, "Oslo")], "1", "differ: Rome, Lima"),
        (f'{{"prompt": "{F}", "target": "a", "target": "b"}}\n{{"prompt": "{J}", "target": "Oslo"}}',
         [(J, "Oslo")], "1", "has the key 'target' twice"),
        (json.dumps([{"prompt": F, "target": True}, {"prompt": J, "target": "Oslo"}]), [(J, "Oslo")], "1",
         "found true, needed a text"),
        (f'[{{"prompt": "{F}", "target": NaN}}, {{"prompt": "{J}", "target": "Oslo", "subject": NaN}}]',
         [(J, "Oslo")], "1", "empty"),
        (json.dumps([{"prompt": F, "target": "\u200b"}, {"prompt": J, "target": "Oslo"}]), [(J, "Oslo")], "1",
         "empty"),
        (json.dumps([{"messages": "[]"}, {"prompt": J, "target": "Oslo"}]), [(J, "Oslo")], "1",
         "found a text, needed a list of turns"),
        (json.dumps([["x"], {"prompt": J, "target": "Oslo"}]), [(J, "Oslo")], "1", "found a list, needed"),
    ],
)  # fmt: skip
def test_a_row_that_is_unclear_is_refused_and_the_others_are_read(tmp_path, text, made, row, reason):
    loaded = written(tmp_path, text, "a.txt")
    (problem,) = [p for p in loaded.skipped if p.refused]
    assert edits_of(loaded) == made and problem.row == row and reason in problem.reason
    assert loaded.rows == 2


def test_what_is_not_taken_of_a_row_is_said(tmp_path):
    loaded = written(tmp_path, json.dumps([{"prompt": F, "target_new": ["Rome", "Milan"]}]), "a.json")
    assert edits_of(loaded) == [(F, "Rome")]
    assert [p.reason for p in loaded.skipped] == ["of 2 answers the first is the target, not Milan"]
    loaded = written(tmp_path, f"prompt,target,,locality,locality\n{F},Rome,x,a => b,c => d\n", "a.csv")
    assert loaded.unread == {"(a column without a name)": 1} and len(one(loaded).locality) == 2


def test_single_broken_bytes_cost_their_row(tmp_path):
    data = f"prompt,target\n{F},Rome\nIn Österreich liegt,Köln\n{J},Oslo".encode() + b"\xff\n"
    loaded = written(tmp_path, data, "a.csv")
    assert edits_of(loaded) == [(F, "Rome"), ("In Österreich liegt", "Köln")]
    assert [p.reason for p in loaded.skipped] == ["it holds bytes that are no text"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("prompt,target\n", "has a header and no rows"),
        ('[{"prompt": "p", "target": "t",}]', "a comma before the closing bracket at line 1"),
        ("[{'prompt': 'p'}]", "single quotes at line 1, column 3; JSON has double ones"),
        ('{\n"prompt": "p"}\n{\n"prompt": "q"}', "another object begins at line 3"),
        (
            json.dumps({"train": [{"prompt": "p"}], "test": [{"prompt": "q"}]}),
            "several lists of rows: train, test",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_remedy(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text, "a.txt")
