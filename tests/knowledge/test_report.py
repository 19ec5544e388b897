"""What a store's report and its preview for notebooks show."""

from __future__ import annotations

import json

from kblam.knowledge import KnowledgeStore

FACTS = [
    ("Café Aurora", "city", "Ulm"),
    ("cafe aurora", "city", "ULM."),
    ("Borealis", "lead", "Mirela Osei"),
    ("Borealis", "lead", "Tomas Lindqvist"),
    ("Borealis", "about", "x" * 1001),
    ("Borealis", "growth", "-4 %"),
    ("Borealis", "growth", "4 %"),
    ("<b>", "sign", "&"),
    ("+", "sign", "plus"),
    ("-", "sign", "minus"),
]


def test_a_report_counts_and_finds_what_stands_there_twice() -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        report = store.report()
        assert (report.facts, report.entities) == (10, 6)
        assert next(iter(report.properties.items())) == ("sign", 3)
        assert report.alike_entities == (("Café Aurora", "cafe aurora"),)
        assert [[f.value for f in group] for group in report.alike_facts] == [["Ulm", "ULM."]]
        assert report.several_values == 2
        assert set(report.most_values) == {("Borealis", "lead", 2), ("Borealis", "growth", 2)}
        assert [fact.property for fact in report.long_values] == ["about"]
        assert json.loads(json.dumps(report.to_dict()))["facts"] == 10
        text = str(report)
        assert "10 about 6 entities" in text
        assert "Café Aurora = cafe aurora" in text
        assert "&amp;" not in text


def test_a_report_of_a_view() -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        assert store.report(store.view(entity="Borealis")).facts == 5


def test_an_empty_store() -> None:
    with KnowledgeStore() as store:
        assert str(store.report()).splitlines() == ["Facts: 0 about 0 entities", "Properties: "]
        assert "0 facts" in store._repr_html_()


def test_notebooks_show_facts_escaped_and_cut() -> None:
    store = KnowledgeStore.from_source([*FACTS, ("a", "b", "c")])
    html = store._repr_html_()
    assert "11 facts" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "x" * 200 + "..." in html
    assert "x" * 201 not in html
    assert "and 1 more" in html
    report = KnowledgeStore.from_source([("<i>", "p", "1"), ("<I>", "p", "2")]).report()
    assert "&lt;i&gt; = &lt;I&gt;" in report._repr_html_()
    store.close()
    assert "closed" in store._repr_html_()
