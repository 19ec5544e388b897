from __future__ import annotations

import json

import pytest

from kblam.errors import ConfigError
from kblam.extraction import FactExtractor, LanguageModelExtractor
from kblam.extraction.language_model import kblam_complete
from kblam.model import KBLaM

TEXT = "Aurora's launch code is QX-7719. Its lead is Mirela Osei."


def answering(*facts):
    return lambda prompt, schema: json.dumps({"facts": list(facts)})


def fact(entity, name, value):
    return {"entity": entity, "property": name, "value": value}


def test_facts_are_kept_if_the_text_names_them():
    complete = answering(
        fact("aurora", "launch code", "QX-7719"),
        fact("Aurora", "lead", "Mirela Osei"),
        fact("Aurora", "budget", "48,200 euros"),
        fact("Borealis", "lead", "Mirela Osei"),
    )
    extraction = FactExtractor(complete).extract(TEXT)
    assert [(f.entity, f.property, f.value) for f in extraction.facts] == [
        ("Aurora", "launch code", "QX-7719"),
        ("Aurora", "lead", "Mirela Osei"),
    ]
    assert extraction.report.without_evidence == 2
    assert TEXT[: extraction.facts[0].metadata["end"]] == "Aurora's launch code is QX-7719."
    everything = FactExtractor(complete, needs_evidence=False).extract(TEXT)
    assert len(everything.facts) == 4


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no JSON",
        '{"facts": ',
        '{"other": 1}',
        '{"facts": ["x"]}',
        '{"facts": [{"entity": 1}]}',
        '{"facts": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_answers_that_are_no_facts_are_reported(answer):
    report = FactExtractor(lambda prompt, schema: answer).extract(TEXT).report
    assert (report.facts, len(report.unreadable)) == (0, 1)
    assert "Not readable" in str(report)


def test_empty_parts_are_reported_and_text_around_the_json_is_ignored():
    answer = "Here you are: " + answering(
        fact("Aurora", "lead", "Mirela Osei"), fact("Aurora", "  ", "QX-7719")
    )("", {})
    report = FactExtractor(lambda prompt, schema: answer + " Done.").extract(TEXT).report
    assert (report.facts, len(report.unreadable)) == (1, 1)


def test_a_reply_that_cannot_be_read_costs_its_own_passage_only():
    replies = iter(['{"facts": ' + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}"])
    good = answering(fact("Aurora", "lead", "Mirela Osei"))
    extractor = FactExtractor(lambda prompt, schema: next(replies, good("", {})), max_chars=40)
    report = extractor.extract(TEXT + " The lead of Aurora is Mirela Osei.").report
    assert (report.passages, report.facts, len(report.unreadable)) == (3, 1, 1)


def test_only_texts_and_numbers_are_parts_of_facts():
    parts = ('"QX-7719"', "7", "6.80", "1e400", "true", "NaN", "-Infinity", "null", "[7]")
    facts = [f'{{"entity": "Aurora", "property": "code", "value": {part}}}' for part in parts]
    answer = f'{{"facts": [{", ".join(facts)}]}}'
    extractor = FactExtractor(
        LanguageModelExtractor(lambda prompt, schema: answer, needs_evidence=False), resolution=None
    )
    extraction = extractor.extract(TEXT)
    assert [fact.value for fact in extraction.facts] == ["QX-7719", "7", "6.80", "1e400"]
    assert len(extraction.report.unreadable) == 5


def test_long_texts_are_cut_and_a_prompt_holds_one_passage():
    prompts = []

    def complete(prompt, schema):
        prompts.append(prompt)
        return answering(fact("Aurora", "lead", "Mirela Osei"))(prompt, schema)

    text = " ".join([TEXT] * 20)
    extraction = FactExtractor(LanguageModelExtractor(complete, prompt="%s"), max_chars=60).extract(
        text
    )
    assert prompts == [TEXT] * 20
    (only,) = extraction.facts
    spans = [text[place["start"] : place["end"]] for place in only.metadata["evidence"]]
    assert spans == ["Its lead is Mirela Osei."] * 20
    assert extraction.report.duplicates == 19
    assert not FactExtractor(complete).extract(" ").facts
    assert len(prompts) == 20  # nothing was asked about nothing


def test_settings_that_make_no_sense():
    with pytest.raises(ConfigError, match="%s"):
        LanguageModelExtractor(answering(), prompt="List the facts.")
    with pytest.raises(ConfigError, match="max_chars"):
        FactExtractor(answering(), max_chars=0)


@pytest.mark.weights
def test_the_small_model_fills_the_schema():
    model = KBLaM.from_pretrained(adapter=None)
    extractor = LanguageModelExtractor(
        kblam_complete(model), prompt="Facts in JSON: %s", max_facts=1, needs_evidence=False
    )
    report = FactExtractor(extractor, resolution=None).extract(TEXT).report
    # What it says is another matter: it is a small model.
    assert report.found <= 1
    assert not report.unreadable
