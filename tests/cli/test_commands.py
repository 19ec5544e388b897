"""The commands, as a person runs them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from kblam.cli._stores import open_existing
from kblam.cli.evaluate import METRICS, Method
from kblam.evaluation import METHODS
from kblam.knowledge import KnowledgeStore
from kblam.training import TrainingConfig

pytestmark = pytest.mark.weights  # of the sentence encoder


def test_help_names_every_command(kblam):
    output = kblam("--help").output
    for name in ("index", "ask", "inspect", "train", "evaluate"):
        assert name in output


def test_runs_as_a_program():
    finished = subprocess.run(
        [sys.executable, "-m", "kblam.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "index" in finished.stdout


def test_index_embeds_and_adds(kblam, facts_file, tmp_path):
    store = tmp_path / "facts.db"
    assert "3 facts, 3 new, 3 embedded" in kblam("index", facts_file, store).output
    assert "3 facts, 0 new, 0 embedded" in kblam("index", facts_file, store).output


def test_index_without_embedding(kblam, facts_file, tmp_path):
    output = kblam("index", facts_file, tmp_path / "facts.db", "--no-encode").output
    assert "3 facts, 3 new, 0 embedded" in output


@pytest.mark.weights
def test_index_and_sync_keep_vectors_as_told(kblam, facts_file, tmp_path):
    store, mirror = tmp_path / "facts.db", tmp_path / "mirror.db"
    kblam("index", facts_file, store, "--vectors", "int8")
    assert "0 new, 0 embedded" in kblam("index", facts_file, store).output
    kblam("sync", facts_file, mirror, "--no-encode", "--vectors", "int8")
    for path, there in ((store, 3), (mirror, 0)):
        with KnowledgeStore(path) as opened:
            vectors = opened.vectors("all-MiniLM-L6-v2")
            assert (vectors.form, len(vectors)) == ("int8", there)
    # A store that there is already is converted, and embeds nothing again.
    assert "0 embedded" in kblam("index", facts_file, store, "--vectors", "half").output
    with KnowledgeStore(store, vectors="half") as opened:
        assert len(opened.vectors("all-MiniLM-L6-v2")) == 3
    output = kblam("index", facts_file, store, "--vectors", "int4", code=2).output
    assert "half" in output
    assert "int8" in output


def test_index_names_columns(kblam, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("name,field,content\nAda,birthplace,London\n", encoding="utf-8")
    columns = ("--entity", "name", "--property", "field", "--value", "content")
    kblam("index", table, tmp_path / "people.db", "--no-encode", *columns)
    with KnowledgeStore(tmp_path / "people.db") as store:
        assert [fact.statement for fact in store] == ["The birthplace of Ada is London."]


@pytest.mark.parametrize("command", ["index", "sync"])
def test_wide_tables_and_other_delimiters_are_read(kblam, tmp_path, command):
    table, store = tmp_path / "people.csv", tmp_path / "people.db"
    table.write_text("Name;born;city\nAda;1815;London\nBo;;Oslo\n", encoding="utf-8")
    options = ("--entity", "name", "--wide", "--delimiter", ";", "--no-encode")
    kblam(command, table, store, *options)
    with KnowledgeStore(store) as opened:
        assert [fact.value for fact in opened] == ["1815", "London", "Oslo"]
    both = kblam(command, table, store, *options, "--value", "city", code=2).output
    assert "Leave out one or the other" in both


@pytest.mark.parametrize("command", ["index", "sync"])
def test_what_cannot_be_read_leaves_no_store(kblam, tmp_path, command):
    table, store = tmp_path / "people.csv", tmp_path / "people.db"
    table.write_text("name,born\nAda,1815\n", encoding="utf-8")
    output = kblam(command, table, store, "--no-encode", code=2).output
    assert "--wide" in " ".join(output.split())
    table.write_text("entity,property,value\nAda,born,1815\nAda,died,\n", encoding="utf-8")
    assert "line 3" in kblam(command, table, store, "--no-encode", code=2).output
    assert not list(tmp_path.glob("people.db*"))


def test_only_tables_have_columns(kblam, facts_file, tmp_path):
    for option in (("--wide",), ("--delimiter", ";"), ("--entity", "name")):
        output = kblam("index", facts_file, tmp_path / "facts.db", *option, code=2).output
        assert "Expected a table, .csv or .tsv" in output


def test_the_version_is_told(kblam):
    assert kblam("--version").stdout.strip() == version("kblam")


def test_index_reads_what_other_packages_read(kblam, tmp_path):
    graph = tmp_path / "graph.ttl"
    graph.write_text('@prefix ex: <http://e.org/> . ex:Ada ex:bornIn "London" .', encoding="utf-8")
    kblam("index", graph, tmp_path / "graph.db", "--no-encode")
    with KnowledgeStore(tmp_path / "graph.db") as store:
        assert [fact.value for fact in store] == ["London"]


def test_index_merges_a_store(kblam, facts_file, tmp_path):
    kblam("index", facts_file, tmp_path / "one.db", "--no-encode")
    assert "3 new" in kblam("index", tmp_path / "one.db", tmp_path / "two.db", "--no-encode").output


def test_inspect(kblam, facts_file, tmp_path):
    store = tmp_path / "facts.db"
    kblam("index", facts_file, store)
    output = kblam("inspect", store).output
    assert "project lead" in output
    assert "3 of 3 by all-MiniLM-L6-v2" in output
    summary = json.loads(kblam("inspect", store, "--json").stdout)
    assert summary["facts"] == 3
    assert summary["entities"] == 2
    assert summary["properties"] == {"project lead": 2, "launch code": 1}
    with open_existing(store) as opened:
        assert summary["fingerprint"] == opened.fingerprint


def test_ask_shows_the_ranking(kblam, facts_file, tiny_model):
    question = "What is the launch code of Aurora?"
    output = kblam(
        "ask", facts_file, question, "--top-k", 1, "--max-new-tokens", 4, *tiny_model
    ).output
    assert "Ranked highest" in output
    assert "QX-7719" in output
    assert "Mirela" not in output


def test_ask_as_json_and_as_a_picture(kblam, facts_file, tiny_model, tmp_path):
    picture = tmp_path / "attention.png"
    result = kblam(
        "ask",
        facts_file,
        "What is the launch code of Aurora?",
        "--json",
        "--system",
        "Be brief.",
        "--max-new-tokens",
        4,
        "--show-attention",
        picture,
        *tiny_model,
    )
    answer = json.loads(result.stdout)
    assert answer["usage"]["output_tokens"] == 4
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in result.stderr


def test_evaluate_writes_one_object(kblam, facts_file, tiny_model, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        json.dumps({"question": "What is the launch code of Aurora?", "answers": ["QX-7719"]})
        + "\n"
        + json.dumps({"question": "What is the budget of Aurora?", "answers": []}),
        encoding="utf-8",
    )
    out = tmp_path / "out.json"
    arguments = ("--facts", facts_file, "--questions", questions, *tiny_model)
    printed = kblam("evaluate", *arguments, "--json", out).output
    result = json.loads(out.read_text("utf-8"))
    assert set(METRICS) <= set(result)
    assert (result["num_questions"], result["num_facts"]) == (2, 3)
    assert "recall at 1" in printed
    object_alone = kblam("evaluate", *arguments, "--limit", 1, "--json", "-").stdout
    assert json.loads(object_alone)["num_questions"] == 1


def test_evaluate_offers_every_method():
    assert {method.value for method in Method} == set(METHODS)


def test_train_offers_every_setting_with_its_default(kblam):
    output = kblam("train", "--help").output
    for field in dataclasses.fields(TrainingConfig):
        assert f"--{field.name.replace('_', '-')} " in output
    assert "Peak, of AdamW" in output  # the settings' own docstring


def test_train_shows_its_data(kblam):
    output = kblam("train", "--preview", 3).stdout
    assert "Questions" in output
    assert output == kblam("train", "--preview", 3).stdout


def test_train_refuses_settings_out_of_range(kblam):
    assert "Expected steps >= 1, got 0" in kblam("train", "--steps", 0, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "none.jsonl", "out.db"), "found none. Give the path"),
        (("index", "facts.jsonl", "out.txt"), "to end in .db"),
        (("index", "facts.xyz", "out.db"), "Nothing reads facts from a file like 'facts.xyz'"),
        (("index", "empty.jsonl", "out.db"), "line 1"),
        (("index", "table.csv", "out.db"), "Name the columns"),
        (("inspect", "none.db"), "kblam index"),
        (("inspect", "corrupt.db"), "not a knowledge store"),
        (("inspect", "nothing.db"), "found an empty file"),
        (("ask", "none.db", "Who?"), "kblam index"),
        (("ask", "facts.jsonl", "Who?", "--adapter", "nowhere"), "kblam train"),
        (("ask", "facts.jsonl", "Who?", "--base-model", "nowhere"), "(3) installed weight wheels"),
        (("evaluate", "--facts", "none", "--questions", "none"), "none"),
    ],
)
def test_mistakes_get_one_clear_message(kblam, facts_file, monkeypatch, arguments, message):
    monkeypatch.chdir(facts_file.parent)
    for name, text in {
        "facts.xyz": "?",
        "empty.jsonl": '{"entity": "Aurora", "property": " ", "value": "x"}',
        "table.csv": "a,b,c\n1,2,3\n",
        "corrupt.db": "this is not a database",
        "nothing.db": "",
    }.items():
        facts_file.with_name(name).write_text(text, encoding="utf-8")
    result = kblam(*arguments, code=2)
    assert result.stderr.count("Error: ") == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert facts_file.with_name("nothing.db").stat().st_size == 0


def test_an_adapter_for_another_model_is_refused(kblam, facts_file, tiny_model):
    base = tiny_model[:2]
    result = kblam("ask", facts_file, "Who?", "--adapter", tiny_model[3], code=2)
    assert "was trained for" in result.stderr
    assert base[1] in result.stderr


def test_a_question_longer_than_the_context(kblam, facts_file, tiny_model):
    result = kblam("ask", facts_file, "who " * 500, *tiny_model, code=2)
    assert "256 tokens" in result.stderr


def test_what_the_system_does_not_allow_is_one_message(kblam, facts_file, tmp_path):
    output = kblam("index", tmp_path / ("x" * 300 + ".jsonl"), tmp_path / "f.db", code=2).output
    assert "File name too long" in output
    output = kblam("ask", facts_file, "Why?", "--show-attention", tmp_path / "no/x.png", code=2)
    assert "Expected a folder for the drawing" in output.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_message():
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "kblam.cli", "train", "--preview", "1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "No space left" in finished.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_name_can_be_printed(facts_file, tmp_path, encoding):
    store = tmp_path / "Győr.db"
    with KnowledgeStore(store) as opened:
        opened.add(("Győr", "note", "😀"))
    for arguments in ([], ["--json"]):
        finished = subprocess.run(
            [sys.executable, "-m", "kblam.cli", "inspect", str(store), *arguments],
            env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"},
            capture_output=True,
            check=True,
        )
        said = finished.stdout.decode(encoding)
        assert "r.db" in said
        if arguments:
            assert json.loads(said)
