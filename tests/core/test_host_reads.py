"""How often an answer makes Python wait for what a GPU computes, counted on a CPU."""

from __future__ import annotations

import torch
from host_reads import HostReads, reads_of
from tiny_kblam import FACTS

from kblam import KBLaM, OutputConstraint
from kblam._finished import AnswerMaker
from kblam._selected_facts import SelectedFacts
from kblam.config import GenerationOptions, KnowledgeConfig, SelectionConfig
from kblam.decoder.constrain import ConstraintProcessor
from kblam.decoder.grounding import CopyProcessor
from kblam.decoder.query_heads import FullQueryHead
from kblam.decoder.refusal import RefusalProcessor
from kblam.decoder.selection_heads import MatchHead
from kblam.encoding import Evidence

QUESTION = "What is the office of Project Heron?"
OPTIONS = GenerationOptions(max_new_tokens=12)


def test_the_pointer_reads_what_it_computed_once_a_token(rambling: KBLaM) -> None:
    with reads_of(CopyProcessor, "__call__") as tokens:
        rambling.ask(QUESTION, OPTIONS)
    first, *others = tokens
    assert first == ["tolist"] * 3  # the text so far, the facts selected, the pointer
    # Later the facts are known, and the last token's probability is read.
    assert others == [["tolist", "__float__", "tolist"]] * 11


def test_two_rows_read_it_as_often(rambling: KBLaM) -> None:
    with reads_of(CopyProcessor, "__call__") as tokens:
        rambling.ask_batch([QUESTION, f"What is the budget of {FACTS[3][0]}?"], OPTIONS)
    assert all(reads.count("tolist") == 2 for reads in tokens[1:])


def test_which_facts_were_selected_is_read_at_once(rambling: KBLaM) -> None:
    with reads_of(SelectedFacts, "_read") as readings:
        rambling.ask(QUESTION, OPTIONS)
    assert readings
    assert all(reads == ["tolist"] for reads in readings)


def test_whether_the_facts_answer_is_read_once(rambling: KBLaM) -> None:
    with (
        reads_of(RefusalProcessor, "__call__") as tokens,
        reads_of(AnswerMaker, "refuses") as asked,
    ):
        rambling.ask(QUESTION, OPTIONS)
    assert tokens == [["tolist"], *[[]] * 11]
    assert asked
    assert not any(asked)


def test_which_properties_are_verbs_is_read_once() -> None:
    head = MatchHead(
        KnowledgeConfig(
            encoder="words", encoder_dimension=6, knowledge_layers=(1,), hidden_size=4,
            num_heads=1, num_key_heads=1, head_dim=4, selection=SelectionConfig(layer=1),
        )
    )  # fmt: skip
    verbs = torch.tensor([[True, False, True]])
    evidence = Evidence(
        torch.rand(1, 3, 4), torch.rand(1, 3, 2), torch.rand(1, 6), torch.rand(1, 3, 6), verbs
    )
    with HostReads() as reads:
        head(evidence, torch.rand(1, 3), torch.rand(1, 3, 6))
    assert reads.found == ["nonzero"]


def test_a_form_is_held_to_without_reading_scores(rambling: KBLaM) -> None:
    constraint = OutputConstraint.json_schema({"type": "object"})
    held = ConstraintProcessor(
        constraint.grammar, rambling._engine.grammar_tokenizer, 3, max_new_tokens=500
    )
    # Nothing can be read from such a device.
    scores = torch.empty(1, rambling.base.config.vocab_size, device="meta")
    opening = rambling.tokenizer.encode('{"a": "')
    for length in range(len(opening) + 1):
        text = torch.tensor([[0, 0, 0, *opening[:length]]])
        assert held(text, scores).shape == scores.shape


def test_queries_are_made_with_weights_converted_once() -> None:
    head, hidden = FullQueryHead(4, 6, bias=True), torch.rand(1, 2, 4).bfloat16()
    with torch.no_grad():
        expected = torch.nn.functional.linear(hidden, head.weight.bfloat16(), head.bias.bfloat16())
        assert torch.equal(head(hidden), expected)
        with torch.profiler.profile() as profile:
            head(hidden)
        assert "aten::_to_copy" not in {event.key for event in profile.key_averages()}
        head.weight.add_(1.0)
        assert not torch.equal(head(hidden), expected)
    head(hidden).sum().backward()
    assert head.weight.grad is not None
