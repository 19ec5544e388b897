"""Answers of base models whose tokenizers begin texts with a space, and of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_kblam import FACTS, WordEncoder, answer_after_colons, make_adapter, make_decoder
from tiny_tokenizers import PLAIN, SPACED

from kblam import GenerationOptions, OutputConstraint
from kblam import adapter as adapters
from kblam.model import KBLaM

ASKED = "What is the project lead of Borealis?"


def _answering(kind: str, folder: Path) -> KBLaM:
    """Its answer is the value of the fact asked for, and nothing else."""
    tokenizer, encoder = {**SPACED, **PLAIN}[kind](), WordEncoder()
    decoder = make_decoder(tokenizer)
    answer_after_colons(decoder, tokenizer)
    adapter = make_adapter(decoder, encoder, copies="after a colon")
    adapters.save_pretrained(adapter, folder, decoder, base_model="tiny")
    model = KBLaM.from_pretrained(decoder, adapter=folder, encoder=encoder, tokenizer=tokenizer)
    return model.attach(FACTS)


@pytest.fixture(scope="module", params=[*SPACED, *PLAIN])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KBLaM:
    return _answering(request.param, tmp_path_factory.mktemp("adapter"))


def test_a_copied_value_is_the_answer(model: KBLaM) -> None:
    answer = model.ask(ASKED)
    assert answer.text == "Tomas Lindqvist"
    (citation,) = answer.citations
    assert answer.text[citation.start : citation.end] == "Tomas Lindqvist"
    # As the base begins its own answers.
    start = model._engine.vocabulary.at_start("Tomas Lindqvist")
    assert answer.usage.output_tokens == len(start) + 1


def test_a_stream_is_the_answer_piece_by_piece(model: KBLaM) -> None:
    assert "".join(model.stream(ASKED)) == "Tomas Lindqvist"


# Grammars cannot be followed with the other ones.
@pytest.mark.parametrize("kind", ["byte-level", "Llama", "Llama, legacy", "Llama, of old", "Gemma"])
def test_a_value_in_json_has_no_space_before_it(kind: str, tmp_path: Path) -> None:
    model = _answering(kind, tmp_path)
    form = OutputConstraint.json_schema(
        {
            "type": "object",
            "properties": {"project lead": {"type": "string"}},
            "required": ["project lead"],
        }
    )
    answer = model.ask(ASKED, options=GenerationOptions(constraint=form, max_new_tokens=96))
    assert json.loads(answer.text) == {"project lead": "Tomas Lindqvist"}
