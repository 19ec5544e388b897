from __future__ import annotations

import json
from importlib import import_module

import pytest
from typer.testing import CliRunner

from kblam.cli import app
from kblam.extraction import merges_in
from kblam.knowledge import KnowledgeStore

TEXT = "Acme was founded by Ann Lee. Acme Corp. has its headquarters in Lund."
MODULE = """
import json

FACTS = [("Acme", "founder", "Ann Lee"), ("Acme Corp.", "headquarters", "Lund"),
         ("Acme", "budget", "1")]


def complete(prompt, schema):
    parts = ("entity", "property", "value")
    return json.dumps({"facts": [dict(zip(parts, fact)) for fact in FACTS]})


def make():
    from kblam.extraction import LanguageModelExtractor

    return LanguageModelExtractor(complete)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "notes.md").write_text(TEXT, encoding="utf-8")
    (tmp_path / "facts_by_rule.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["extract", *arguments], env={"COLUMNS": "120"})


@pytest.mark.parametrize("name", ["make", "complete"])
def test_facts_are_written_with_their_places(folder, name):
    result = run("notes.md", "company.db", "--extractor", f"facts_by_rule:{name}")
    assert result.exit_code == 0, result.output
    assert "Acme Corp. = Acme" in result.output
    assert "1 have no evidence" in result.output
    with KnowledgeStore(folder / "company.db") as store:
        assert {fact.entity for fact in store} == {"Acme Corp."}
        (fact,) = store.search(property="headquarters")
        assert TEXT[fact.metadata["start"] : fact.metadata["end"]] == TEXT[29:]
        assert [merge.aliases for merge in merges_in(store)] == [("Acme",)]
    again = run("notes.md", "company.db", "--extractor", f"facts_by_rule:{name}")
    assert again.exit_code == 0, again.output
    with KnowledgeStore(folder / "company.db") as store:
        assert len(store) == 2


class Shared(KnowledgeStore):
    """A store that another connection writes to when its facts have been read first."""

    written = False

    def triples(self):
        yield from super().triples()
        if not self.written:
            self.written = True
            with KnowledgeStore(self.path) as other:
                other.add(("Norlin", "headquarters", "Bergen"))


def test_what_others_write_meanwhile_is_kept(folder, monkeypatch):
    monkeypatch.setattr(import_module("kblam.cli.extract"), "KnowledgeStore", Shared)
    result = run("notes.md", "company.db", "--extractor", "facts_by_rule:make")
    assert result.exit_code == 0, result.output
    assert "3 facts written" in result.output
    with KnowledgeStore(folder / "company.db") as store:
        assert {fact.entity for fact in store} == {"Acme Corp.", "Norlin"}


def test_vectors_are_kept_as_told(folder):
    arguments = ("notes.md", "company.db", "--extractor", "facts_by_rule:make")
    result = run(*arguments, "--vectors", "int8")
    assert result.exit_code == 0, result.output
    with KnowledgeStore(folder / "company.db") as store:
        assert (store.vector_form, len(store)) == ("int8", 2)
    result = run(*arguments, "--vectors", "half", "--dry-run")
    assert result.exit_code == 0, result.output
    with KnowledgeStore(folder / "company.db") as store:
        assert store.vector_form == "int8"


def test_a_dry_run_writes_nothing(folder):
    arguments = ("notes.md", "company.db", "--extractor", "facts_by_rule:make", "--dry-run")
    result = run(*arguments, "--no-merge")
    assert result.exit_code == 0, result.output
    assert "2 facts would be written" in result.output
    assert not (folder / "company.db").exists()
    with KnowledgeStore(folder / "company.db") as store:
        store.add(("Acme", "chair", "Bo Ek"))
        before = store.fingerprint
        assert run(*arguments).exit_code == 0
        assert store.fingerprint == before


def test_json(folder):
    result = run("notes.md", "c.db", "--extractor", "facts_by_rule:make", "--json")
    shown = json.loads(result.stdout)
    assert shown["report"]["entities"]["merges"][0]["name"] == "Acme Corp."
    assert shown["facts"][0]["metadata"]["document"] == "notes.md"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("notes.md", "other.md"), "kblam extract notes.md other.db"),
        (("missing.md", "c.db", "--extractor", "facts_by_rule:make"), "could not read"),
        (("notes.md", "c.db", "--extractor", "facts_by_rule:nothing"), "MODULE:NAME"),
        (("notes.md", "c.db", "--extractor", "nothing"), "MODULE:NAME"),
        (("notes.md", "c.db", "--extractor", "facts_by_rule:FACTS"), "got list"),
        (("notes.md", "c.db", "--threshold", "0.2"), "above 0.5"),
    ],
)
def test_mistakes_are_answered_with_one_message(folder, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
