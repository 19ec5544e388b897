"""Settings: what they refuse, and that they survive JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kblam.config import (
    DEFAULT_REFUSAL,
    GenerationOptions,
    KnowledgeConfig,
    RefusalConfig,
    SelectionConfig,
)
from kblam.errors import ConfigError

SHAPE = {
    "encoder": "words",
    "encoder_dimension": 8,
    "knowledge_layers": (1, 2),
    "hidden_size": 16,
    "num_heads": 4,
    "num_key_heads": 2,
    "head_dim": 4,
}


def knowledge(**changes: object) -> KnowledgeConfig:
    return KnowledgeConfig(**{**SHAPE, **changes})  # type: ignore[arg-type]


configs = st.builds(
    lambda first, count, groups, per_group, **rest: knowledge(
        knowledge_layers=tuple(range(first, first + count)),
        num_heads=groups * per_group,
        num_key_heads=groups,
        selection=SelectionConfig(first, rest.pop("top_k"), rest.pop("sources")),
        refusal=RefusalConfig(rest.pop("sentence"), rest.pop("threshold")),
        **rest,
    ),
    first=st.integers(0, 9),
    count=st.integers(1, 4),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 3),
    top_k=st.integers(1, 99),
    sources=st.sampled_from(["both", "encoder", "decoder"]),
    sentence=st.text(min_size=1).filter(str.strip),
    threshold=st.floats(0, 1),
    scale_factor=st.none() | st.floats(0.1, 1e6),
    key_norm=st.booleans(),
    query_head=st.sampled_from(["full", "lora", "shared"]),
    grounded=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(configs)
def test_a_configuration_survives_json(config: KnowledgeConfig) -> None:
    assert KnowledgeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_without_selection_it_survives_json_too() -> None:
    config = knowledge(selection=None, scale_factor=None)
    assert KnowledgeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"knowledge_layers": ()}, "ascending"),
        ({"knowledge_layers": (2, 1)}, "ascending"),
        ({"knowledge_layers": (1, 1)}, "ascending"),
        ({"knowledge_layers": (-1, 1)}, "ascending"),
        ({"knowledge_layers": (1.5,)}, "ascending"),
        ({"encoder_dimension": 0}, "encoder_dimension"),
        ({"hidden_size": -4}, "hidden_size"),
        ({"head_dim": 2.5}, "whole number head_dim"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"num_key_heads": 3}, "divide"),
        ({"scale_factor": 0.0}, "scale factor"),
        ({"scale_factor": float("nan")}, "scale factor"),
        ({"query_head": "half"}, "query_head"),
        ({"encoder": 5}, "encoder's name"),
        ({"selection": 3}, "selection"),
        ({"refusal": None}, "refusal"),
        ({"selection": SelectionConfig(layer=0)}, "first knowledge layer"),
        ({"grounded": True}, "selection, or grounded=False"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        knowledge(**changes)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: SelectionConfig(layer=-1), "layer"),
        (lambda: SelectionConfig(layer=0, top_k=0), "top_k"),
        (lambda: SelectionConfig(layer=0, pools=0), "pools"),
        (lambda: SelectionConfig(layer=0, sources="all"), "sources"),
        (lambda: RefusalConfig(sentence=" "), "sentence"),
        (lambda: RefusalConfig(threshold=1.5), "threshold"),
        (lambda: RefusalConfig(threshold=float("nan")), "threshold"),
        (lambda: GenerationOptions(max_new_tokens=0), "max_new_tokens"),
        (lambda: GenerationOptions(temperature=-0.1), "temperature"),
        (lambda: GenerationOptions(temperature=float("nan")), "temperature"),
        (lambda: GenerationOptions(temperature=float("inf")), "temperature"),
        (lambda: GenerationOptions(temperature="1"), "temperature"),
        (lambda: GenerationOptions(top_p=None), "top_p"),
        (lambda: GenerationOptions(stop=None), "stop"),
        (lambda: GenerationOptions(stop=[1]), "stop"),
        (lambda: GenerationOptions(seed="a"), "seed"),
        (lambda: GenerationOptions(seed=2**70), "seed"),
        (lambda: RefusalConfig(sentence=3), "refusal sentence"),
        (lambda: RefusalConfig(threshold="0.5"), "threshold"),
        (lambda: GenerationOptions(top_p=0.0), "top_p"),
        (lambda: GenerationOptions(top_p=1.1), "top_p"),
        (lambda: GenerationOptions(top_k=-1), "top_k"),
        (lambda: GenerationOptions(num_beams=0), "num_beams"),
        (lambda: GenerationOptions(stop=("a", "")), "stop"),
    ],
)
def test_other_settings_out_of_range_are_refused(made, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made()


def test_errors_are_value_errors_too() -> None:
    with pytest.raises(ValueError, match="top_k"):
        SelectionConfig(layer=0, top_k=0)


@pytest.mark.parametrize("part", [None, "selection", "refusal"])
def test_an_unknown_setting_is_named(part: str | None) -> None:
    data = knowledge(selection=SelectionConfig(layer=1)).to_dict()
    (data if part is None else data[part])["colour"] = "red"
    with pytest.raises(ConfigError, match=r"\['colour'\].*newer version"):
        KnowledgeConfig.from_dict(data)


def test_a_missing_setting_is_named() -> None:
    data = knowledge().to_dict()
    del data["head_dim"]
    with pytest.raises(ConfigError, match="head_dim"):
        KnowledgeConfig.from_dict(data)


def test_reading_leaves_what_was_read_alone() -> None:
    data = json.loads(json.dumps(knowledge(selection=SelectionConfig(layer=1)).to_dict()))
    before = json.dumps(data)
    KnowledgeConfig.from_dict(data)
    assert json.dumps(data) == before


def test_settings_are_frozen_and_lists_become_tuples() -> None:
    options = GenerationOptions(stop=["a", "b"])  # type: ignore[arg-type]
    assert options.stop == ("a", "b")
    assert GenerationOptions(stop="\n\n").stop == ("\n\n",)  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.num_beams = 2  # type: ignore[misc]
    assert hash(knowledge(knowledge_layers=[1, 2])) == hash(knowledge())


def test_the_default_refusal() -> None:
    assert RefusalConfig().sentence == DEFAULT_REFUSAL
