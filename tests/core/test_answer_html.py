"""How notebooks show answers: what was copied is marked, what comes from outside is escaped."""

from __future__ import annotations

import re

from kblam import Answer, Citation, Fact, Usage
from kblam._html import marked


def answer(text: str, *citations: Citation, refused: bool = False) -> Answer:
    reason = "refusal" if refused else "stop"
    return Answer(text, citations, refused, reason, Usage(1, 1), (), None, "m", 0.1, 0.1)


FACT = Fact("Aurora", "lead", "<Mirela> & Co", id="1", metadata={"document": "notes.md"})


def test_what_was_copied_is_marked_and_its_source_named() -> None:
    text = "The lead of Aurora is <Mirela> & Co."
    html = answer(text, Citation(FACT, 0.75, 22, 35))._repr_html_()
    assert re.search(r'title="The lead[^"]*">&lt;Mirela&gt; &amp; Co</span>\.', html)
    assert "<Mirela>" not in html
    assert "0.75" in html
    assert "document: notes.md" in html


def test_a_refusal_and_an_answer_without_citation_say_so() -> None:
    assert "refused" in answer("I cannot say.", refused=True)._repr_html_()
    assert "no citation" in answer("Hello.")._repr_html_()


def test_a_citation_stands_alone_too() -> None:
    html = Citation(FACT, 0.5)._repr_html_()
    assert "&lt;Mirela&gt;" in html
    assert "0.50" in html


def test_spans_that_overlap_or_lie_outside_are_left_out() -> None:
    html = marked("abcdef", [(0, 3, "one"), (2, 4, "two"), (5, 9, "three")])
    assert html.count("<span") == 1
    assert re.sub("<[^>]*>", "", html) == "abcdef"
