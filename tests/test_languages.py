"""Edits in one language, asked in another: rows are paired, and every pair of languages has its figures."""

import csv
import json
from dataclasses import replace

import pytest

from model_zoo.benchmarks import read
from model_zoo.benchmarks.languages import in_languages, with_translations
from model_zoo.cli import main
from model_zoo.sources import Source

SAME = {"alt": "Rome", "loc": "The capital of Spain is", "loc_ans": "Madrid", "subject": "France"}
ROW = {
    "en": {
        "src": "The capital of France is",
        "rephrase": "Students learn that the capital of France is",
        **SAME,
    },
    "fr": {
        "src": "What city does France have as its capital?",
        "rephrase": "The capital city of France is",
        **SAME,
    },
}  # two wordings stand for two languages, which the atlas has not


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW, {"en": ROW["en"]}, {"en": ROW["en"], "fr": {"src": "no answer"}}]))
    return path


def test_only_rows_that_can_be_read_in_every_language_are_taken(file, tmp_path):
    (row,) = in_languages(file)
    assert [record.request.prompt for record in row.values()] == [ROW["en"]["src"], ROW["fr"]["src"]]
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps([{"prompt": "a", "target": "b"}]))
    with pytest.raises(ValueError, match="Row 1 of plain.json is not by language"):
        in_languages(plain)


def test_a_records_evidence_is_at_hand_in_its_other_languages(file):
    own, other, *_ = read(file).records
    assert own.languages == ("en", "fr") and other.languages == ("fr", "en")
    source = Source()
    prompt = own.request.prompt
    assert source.evidence(prompt, own).generality == own.paraphrases
    asked = source.evidence(prompt, own, language="fr")
    assert asked.generality == (ROW["fr"]["src"], ROW["fr"]["rephrase"])  # the edit's own prompt among them
    assert asked.target == "Rome" and [probe.prompt for probe in asked.locality] == [SAME["loc"]]
    assert source.evidence(prompt, own, language="en") == source.evidence(prompt, own)
    bare = replace(own, language="", translations=())
    assert with_translations(bare, read(file).records) == own and not bare.languages
    edited = replace(own.request, target="Oslo")  # no row of the file is that edit
    assert not with_translations(replace(bare, request=edited), read(file).records).languages
    assert not read(file).records[-1].languages  # its row has an answer in one language only


def test_an_edit_is_made_in_each_language_and_asked_in_all(file, tmp_path, capsys):
    table = tmp_path / "table.csv"
    command = ["languages", "--model", "atlas", "--data", str(file), "--csv", str(table)]
    assert main([*command, "--methods", "instructedit,grace"]) == 0
    assert "en -> fr" in capsys.readouterr().out
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert {bool(row["editor"]) for row in rows if row["method"] == "grace"} == {False}
    assert all(row["editor"].startswith("trained for ") for row in rows if row["method"] == "instructedit")
    found = {
        tuple(row[k] for k in ("method", "edited", "asked", "metric")): float(row["mean"]) for row in rows
    }
    for edited in ("en", "fr"):
        for asked in ("en", "fr"):
            assert found["instructedit", edited, asked, "reliability"] == 1
            assert found["grace", edited, asked, "reliability"] == (edited == asked)
            assert found["grace", edited, asked, "locality"] == 1


def test_a_row_that_a_method_cannot_edit_is_left_out_and_told(tmp_path, capsys):
    hidden = ROW | {"fr": ROW["fr"] | {"src": "What is its capital?"}}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([ROW, hidden]))
    command = ["languages", "--model", "atlas", "--methods", "rome", "--data", str(file), "--n", "2"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "rome: 1 of 2 rows left out. ROME needs to know which words" in said.err
    assert "n 1" in said.out and "n 2" not in said.out
    file.write_text(json.dumps([hidden]))
    assert main(command) == 2
    assert "ROME needs to know" in capsys.readouterr().err
