"""Lists, JSON lines and CSV as sources."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam.errors import ConfigError, FactError, SourceError, StoreError
from kblam.knowledge import (
    CsvSource,
    JsonlSource,
    KnowledgeStore,
    ListSource,
    SeveralSources,
    Triple,
    TripleSource,
    VersionedSource,
)


def test_list_source_can_be_read_again() -> None:
    source = ListSource(iter([("Acme", "founder", "Ann"), Triple("Acme", "product", "anvils")]))
    assert isinstance(source, TripleSource)
    assert source.count() == 2
    assert list(source.triples()) == list(source.triples())


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(
        '\ufeff{"entity": "Acme", "property": "founder", "value": "Ann Élan", "id": "7"}\n'
        "\n"
        '{"entity": "Acme", "property": "staff", "value": 41, "metadata": {"year": 2020}}\n',
        encoding="utf-8",
    )
    source = JsonlSource(path)
    assert isinstance(source, VersionedSource)
    assert list(source.triples()) == [
        Triple("Acme", "founder", "Ann Élan", id="7"),
        Triple("Acme", "staff", "41", metadata={"year": 2020}),
    ]
    assert source.count() is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: expected a JSON object"),
        ("[1, 2]", "line 2: .* 2 parts"),
        ('{"entity": "Acme", "property": "founder", "value": ""}', "line 2: The value"),
        ('{"entity": "Acme", "value": "Ann"}', "line 2: .*property missing"),
    ],
)
def test_jsonl_names_the_bad_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "facts.jsonl"
    good = json.dumps(Triple("Acme", "founder", "Ann").to_dict())
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(FactError, match=message):
        list(JsonlSource(path).triples())


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(
        'name;field;content;team\nAcme;motto;"bigger; ""better""\nfaster";red\nAcme;founder;Ann;\n',
        encoding="utf-8",
    )
    source = CsvSource(path, entity="name", property="field", value="content", delimiter=";")
    assert list(source.triples()) == [
        Triple("Acme", "motto", 'bigger; "better"\nfaster', metadata={"team": "red"}),
        Triple("Acme", "founder", "Ann"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,property,value\nAcme,founder,Ann\n",
            "has the columns name, property, value; entity",
        ),
        ("", "has the columns \\(none\\)"),
        ("entity,property,value\nAcme,founder,Ann,Bo\n", "line 2: more cells"),
        ("entity,property,value\nAcme,founder,\n", "line 2: .*value missing"),
        ("entity,property,value\nAcme,founder\n", "line 2: .*value missing"),
        ("entity,property,value\nAcme,founder, \n", "line 2: The value"),
    ],
)
def test_csv_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FactError, match=message):
        list(CsvSource(path).triples())


def test_a_wide_csv_file_has_an_entity_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("name,born,team,entity,\nAnn,1968,red,x\nBo, ,blue,,\n,,,,\n")
    wide = {"entity": "name", "property": None, "value": None}
    assert list(CsvSource(path, metadata=["team"], **wide).triples()) == [
        Triple("Ann", "born", "1968", metadata={"team": "red"}),
        Triple("Ann", "entity", "x", metadata={"team": "red"}),
    ]
    assert Triple("Bo", "team", "blue") in list(CsvSource(path, **wide).triples())
    path.write_text("name,born\n,1968\n")
    with pytest.raises(FactError, match="line 2: The entity of a fact must not be empty"):
        list(CsvSource(path, **wide).triples())
    with pytest.raises(FactError, match="has the columns name, born; team missing"):
        list(CsvSource(path, metadata=["team"], **wide).triples())


def test_columns_are_found_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("Entity,PROPERTY,Value,Id,Team\nAcme,founder,Ann,7,red\n")
    expected = Triple("Acme", "founder", "Ann", id="7", metadata={"Team": "red"})
    assert list(CsvSource(path).triples()) == [expected]
    wide = {"entity": "name", "property": None, "value": None, "metadata": ["team"]}
    path.write_text("Name,Born,Team\nAnn,1968,red\n")
    expected = Triple("Ann", "Born", "1968", metadata={"team": "red"})
    assert list(CsvSource(path, **wide).triples()) == [expected]
    # The very name is the column; among several others none is.
    path.write_text("entity,property,value,Value\nAcme,founder,Ann,x\n")
    assert next(CsvSource(path).triples()).metadata == {"Value": "x"}
    path.write_text("entity,property,VALUE,Value\nAcme,founder,Ann,x\n")
    with pytest.raises(FactError, match="value missing"):
        list(CsvSource(path).triples())


@pytest.mark.parametrize(
    "options", [{"property": None}, {"value": None}, {"metadata": ["team"]}], ids=str
)
def test_a_csv_file_is_long_or_wide(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("entity,property,value,team\n")
    with pytest.raises(ConfigError, match="a wide one has neither"):
        CsvSource(path, **options)


def test_several_sources_are_one(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    listed = ListSource([("Acme", "founder", "Ann"), ("Acme", "product", "anvils")])
    both = SeveralSources(JsonlSource(path), listed)
    assert [triple.value for triple in both.triples()] == ["Ann", "Ann", "anvils"]
    assert both.count() is None
    assert both.state() is None  # a list cannot tell
    assert SeveralSources(listed, listed).count() == 4
    files = SeveralSources(JsonlSource(path), JsonlSource(path))
    with KnowledgeStore() as store:
        store.follow(files)
        assert files.state() == files.state() is not None
        path.write_text('{"entity": "Acme", "property": "founder", "value": "Bo Kim"}\n')
        assert store.refresh()
        assert [fact.value for fact in store] == ["Bo Kim"]
    path.unlink()
    with pytest.raises(SourceError):
        files.state()


parts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: text.strip()
)


@given(st.lists(st.builds(Triple, parts, parts, parts, id=st.none() | parts), max_size=5))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, triples: list[Triple]
) -> None:
    folder = tmp_path_factory.mktemp("facts")
    lines = [json.dumps(triple.to_dict(), ensure_ascii=False) for triple in triples]
    (folder / "facts.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    assert list(JsonlSource(folder / "facts.jsonl").triples()) == triples
    with (folder / "facts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["entity", "property", "value"])
        writer.writerows([t.entity, t.property, t.value] for t in triples)
    read = [(t.entity, t.property, t.value) for t in CsvSource(folder / "facts.csv").triples()]
    assert read == [(t.entity, t.property, t.value) for t in triples]


@pytest.mark.parametrize("kind", [JsonlSource, CsvSource])
def test_a_missing_file_is_named(tmp_path: Path, kind: type[JsonlSource]) -> None:
    with pytest.raises(StoreError, match=r"There is no file .*none\.here"):
        kind(tmp_path / "none.here")


def test_a_source_of_ones_own() -> None:
    class Inventory:
        def triples(self) -> Iterator[Triple]:
            yield Triple("bolt M4", "stock", "1,240 pieces")

        def count(self) -> int | None:
            return None

    assert isinstance(Inventory(), TripleSource)
    with KnowledgeStore.from_source(Inventory(), progress=True) as store:
        assert [fact.value for fact in store] == ["1,240 pieces"]


def test_numbers_of_json_lines_stay_as_written(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    line = '{"entity": 7, "property": "%s", "value": %s, "metadata": {"weight": 6.80}}\n'
    numbers = ["6.80", "3.14159265358979323846", "1E400", "-0.0", "12345678901234567890123"]
    path.write_text("".join(line % (i, text) for i, text in enumerate(numbers)))
    triples = list(JsonlSource(path).triples())
    assert [triple.value for triple in triples] == numbers
    assert triples[0].metadata == {"weight": 6.8}


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1" * 5_000, "[" * 50_000])
def test_what_is_no_json_value_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(f'{{"entity": "a", "property": "b", "value": {value}}}\n')
    with pytest.raises(FactError, match=r"facts\.jsonl, line 1: "):
        list(JsonlSource(path).triples())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('entity,property,value\nAcme,motto,"never closed\nAcme,founder,Ann\n', "line 2: expected"),
        ('entity,property,value\nAcme,motto,"closed"too early\n', "line 2: expected cells"),
        ("entity,property,value,value\nAcme,founder,Ann,Bo\n", "several columns named 'value'"),
    ],
)
def test_a_csv_file_loses_nothing_in_silence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(text)
    with pytest.raises(FactError, match=message):
        list(CsvSource(path).triples())


def test_a_cell_that_is_too_long_is_told_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("entity,property,value\nAnn,motto,go\nAnn,text," + "x" * 131_073 + "\n")
    with pytest.raises(FactError, match=r"line 3: expected cells of at most 131,072 characters"):
        list(CsvSource(path).triples())


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_a_delimiter_is_one_character(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("entity,property,value\n")
    with pytest.raises(ConfigError, match="must be one character"):
        CsvSource(path, delimiter=delimiter)


@pytest.mark.parametrize("kind", [JsonlSource, CsvSource])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: type[JsonlSource]) -> None:
    path = tmp_path / "facts"
    path.write_bytes("entity,property,value\nAcme,founder,Zoë\n".encode("latin-1"))
    source = kind(path)
    with pytest.raises((SourceError, FactError), match="facts"):
        list(source.triples())
    path.write_bytes('{"entity": "Zoë", "property": "b", "value": "c"}'.encode("utf-16"))
    with pytest.raises(SourceError, match="to be UTF-8 text, got the byte 0xff"):
        list(source.triples())
    path.unlink()
    path.mkdir()
    with pytest.raises(SourceError, match="could not be read"):
        list(source.triples())
