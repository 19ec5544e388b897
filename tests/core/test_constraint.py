"""Answers held to a form: always in it, in time, with values copied and refusals kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kblam import GenerationOptions, OutputConstraint
from kblam._finished import _may_be_of
from kblam._numbers import numbers_in
from kblam.errors import ConfigError, ConstraintError
from kblam.model import KBLaM

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"key": {"type": "string"}, "weight": {"type": "number"}},
                "required": ["key", "weight"],
            },
        },
        "kind": {"enum": ["person", "place"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["name", "age", "tags", "kind", "note"],
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]


def held(constraint: OutputConstraint, **options: Any) -> GenerationOptions:
    return GenerationOptions(constraint=constraint, **{"max_new_tokens": 128, **options})


def is_person(text: str) -> bool:
    found = json.loads(text)
    return (
        set(found) == set(PERSON["properties"])
        and isinstance(found["name"], str)
        and isinstance(found["age"], int)
        and all(set(tag) == {"key", "weight"} for tag in found["tags"])
        and found["kind"] in ("person", "place")
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 2.0, "seed": 5}, {"num_beams": 3}],
    ids=["greedy", "sampled", "beams"],
)
@pytest.mark.parametrize("limit", [75, 80, 100, 150])
def test_json_is_valid_however_many_tokens_it_may_have(
    rambling: KBLaM, options: dict[str, Any], limit: int
) -> None:
    constraint = OutputConstraint.json_schema(PERSON)
    answer = rambling.ask("Who?", held(constraint, max_new_tokens=limit, **options))
    assert is_person(answer.text)
    assert answer.finish_reason == "stop"


VALUES = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer"},
            {"type": "boolean"},
            {"type": "null"},
            {"const": 'a "quoted" word'},
            {"type": "string", "minLength": 3},
            {"type": "string", "pattern": "^[a-c]{2}-[0-9]$"},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
            lambda named: {"type": "object", "properties": named, "required": sorted(named)}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices}),
    ),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(schema=VALUES, seed=st.integers(0, 9))
def test_json_fits_any_schema(constrained: KBLaM, schema: dict[str, Any], seed: int) -> None:
    options = held(OutputConstraint.json_schema(schema), temperature=1.5, seed=seed)
    answer = constrained.ask("What?", options)
    check_json(json.loads(answer.text), schema)


def check_json(value: Any, schema: dict[str, Any]) -> None:
    if "anyOf" in schema:
        for choice in schema["anyOf"]:
            try:
                return check_json(value, choice)
            except AssertionError:
                continue
        raise AssertionError(value)
    if "const" in schema:
        assert value == schema["const"]
        return None
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
    if schema["type"] == "null":
        assert value is None
        return None
    assert isinstance(value, kinds[schema["type"]])
    for item in value if schema["type"] == "array" else ():
        check_json(item, schema["items"])
    if schema["type"] == "object":
        assert set(value) == set(schema["properties"])
        for name, inner in value.items():
            check_json(inner, schema["properties"][name])
    if schema["type"] == "string":
        assert len(value) >= schema.get("minLength", 0)
        assert re.search(schema.get("pattern", ""), value)
    return None


@pytest.fixture(scope="module")
def constrained(weights: dict[str, KBLaM]) -> KBLaM:
    return weights["rambling"]


def test_a_batch_and_a_stream_are_held_too(rambling: KBLaM) -> None:
    options = held(OutputConstraint.json_schema(PERSON))
    prompts = ["Who?", "Where is Aurora, and why?"]
    assert all(is_person(answer.text) for answer in rambling.ask_batch(prompts, options))
    pieces = list(rambling.stream("Who?", options))
    assert is_person("".join(pieces))


def test_other_forms(rambling: KBLaM) -> None:
    texts = ['I "know"', "no\nidea", "never"]
    assert rambling.ask("Well?", held(OutputConstraint.choice(texts))).text in texts
    assert rambling.ask("Well?", held(OutputConstraint.choice(iter(texts)))).text in texts
    found = rambling.ask("When?", held(OutputConstraint.regex(r"[0-9]{4}-(0[1-9]|1[0-2])"))).text
    assert re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", found)
    lark = 'start: "x" "=" NUMBER\nNUMBER: /[0-9]{1,3}/'
    assert re.fullmatch("x=[0-9]{1,3}", rambling.ask("x?", held(OutputConstraint.lark(lark))).text)


@pytest.mark.parametrize("name", [None, "clock", "weather"])
def test_a_call_of_a_tool(rambling: KBLaM, name: str | None) -> None:
    constraint = OutputConstraint.tool_call(TOOLS, name)
    call = json.loads(rambling.ask("Call!", held(constraint)).text)
    assert set(call) == {"name", "arguments"}
    assert call["name"] in ([name] if name else ["clock", "weather"])
    assert set(call["arguments"]) == ({"city"} if call["name"] == "weather" else set())


def test_a_refusal_is_held_to_no_form(load: Callable[..., KBLaM]) -> None:
    refusing = load("rambling", refusal_threshold=0.0).attach([("Aurora", "code", "X")])
    answer = refusing.ask("Who?", held(OutputConstraint.json_schema(PERSON)))
    assert answer.refused
    assert answer.text == refusing.refusal


@pytest.mark.parametrize(
    "make",
    [
        lambda: OutputConstraint.json_schema({"type": "nonsense"}),
        lambda: OutputConstraint.json_schema({"type": "string", "minLength": 5, "maxLength": 2}),
        lambda: OutputConstraint.json_schema({"default": object()}),
        lambda: OutputConstraint.json_schema("string"),
        lambda: OutputConstraint.regex("("),
        lambda: OutputConstraint.choice([]),
        lambda: OutputConstraint.choice("abc"),
        lambda: OutputConstraint.lark("begin: nothing"),
        lambda: OutputConstraint.tool_call([]),
        lambda: OutputConstraint.tool_call(TOOLS, "hammer"),
        lambda: OutputConstraint.tool_call(
            [{"type": "function", "function": {"name": "x", "parameters": "city"}}]
        ),
    ],
)
def test_forms_that_cannot_be_kept(make: Callable[[], object]) -> None:
    with pytest.raises(ConstraintError, match="Expected"):
        make()


def test_too_few_tokens_for_the_form(rambling: KBLaM) -> None:
    options = held(OutputConstraint.json_schema(PERSON), max_new_tokens=20)
    with pytest.raises(ConstraintError, match="too few"):
        rambling.ask("Who?", options)


def test_options_check_the_form() -> None:
    with pytest.raises(ConfigError, match="OutputConstraint"):
        GenerationOptions(constraint={"type": "string"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stop"):
        GenerationOptions(constraint=OutputConstraint.choice(["a"]), stop=("b",))


@pytest.mark.weights
def test_facts_fill_a_form() -> None:
    model = KBLaM.from_pretrained().attach(
        [
            ("Monell Chemical Senses Center", "director", 'Robert "Bob" Margolskee'),
            ("Ada Lovelace", "birthplace", "London"),
            ("Aurora", "budget", "48200 euros"),
            ("Ember Stove", "price", "$64.50"),
        ]
    )

    def fill(question: str, name: str, kind: str) -> tuple[Any, list[str]]:
        schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
        answer = model.ask(question, held(OutputConstraint.json_schema(schema)))
        return json.loads(answer.text)[name], [c.fact.value for c in answer.citations]

    assert fill("Who is the director of Monell Chemical Senses Center?", "director", "string") == (
        'Robert "Bob" Margolskee',
        ['Robert "Bob" Margolskee'],
    )
    assert fill("Where was Ada Lovelace born?", "place", "string") == ("London", ["London"])
    assert fill("What is the budget of Aurora?", "budget", "integer") == (48200, ["48200 euros"])
    assert fill("What is the price of the Ember Stove?", "price", "number") == (64.5, ["$64.50"])
    # The form has no room for it: what the model writes instead is read from no fact.
    price, cited = fill("What is the price of the Ember Stove?", "price", "integer")
    assert isinstance(price, int)
    assert cited == []
    # What the property is called matters little: a value is wanted, and there is one.
    assert fill("What is the birthplace of Ada Lovelace?", "value", "string")[0] == "London"
    assert fill("Tell me the budget of Aurora.", "answer", "string")[0] == "48200 euros"


@pytest.mark.parametrize(
    ("text", "value", "cited"),
    [
        ('{"price": 64.5}', "$64.50", True),
        ('{"price": 1}', "$64.50", False),
        ('{"budget": 48200}', "48,200 euros", True),
        ('{"in_stock": true}', "112", True),
        ('{"answer": 3}', "three", True),
    ],
)
def test_numbers_are_read_from_no_other(text: str, value: str, cited: bool) -> None:
    assert _may_be_of(value, numbers_in(text)) is cited


@pytest.mark.weights
def test_numbers_and_names_of_a_form_are_the_facts_own() -> None:
    model = KBLaM.from_pretrained().attach(
        [
            ("Heron lamp", "price", "$1,299.50"),
            ("Heron lamp", "weight", "640 grams"),
            ("Heron lamp", "stock", "17"),
            ("Heron lamp", "lowest temperature", "-12 °C"),
            ("Bluebird kettle", "price", "48200 euros"),
            ("Bluebird kettle", "weight", "1.35 kg"),
            ("Astrid Lund", "born", "2 May 1943"),
            ("Astrid Lund", "salary", "71,400 dollars"),
            ("Port Vela", "population", "1.2 million"),
        ]
    )

    def fill(question: str, **kinds: str) -> tuple[dict[str, Any], list[str]]:
        schema = {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in kinds.items()},
            "required": list(kinds),
        }
        answer = model.ask(question, held(OutputConstraint.json_schema(schema)))
        cited = [answer.text[c.start : c.end] for c in answer.citations if c.start is not None]
        return json.loads(answer.text), cited

    assert fill(
        "Describe the Heron lamp: price, weight, stock.",
        price="number",
        weight="integer",
        stock="integer",
    ) == ({"price": 1299.5, "weight": 640, "stock": 17}, ["1299.50", "640", "17"])
    assert fill(
        "Tell me the price and the weight of the Bluebird kettle.",
        price="number",
        weight_kg="number",
    ) == ({"price": 48200, "weight_kg": 1.35}, ["48200", "1.35"])
    # The minus is one token with the space before it.
    question = "What is the lowest temperature of the Heron lamp?"
    assert fill(question, temperature="number") == ({"temperature": -12}, ["-12"])
    assert fill("When was Astrid Lund born?", year="integer") == ({"year": 1943}, ["1943"])
    # A model may want to write the bracket and a minus in one token.
    lists = {"weights": {"type": "array", "items": {"type": "number"}, "maxItems": 1}}
    schema = {"type": "object", "properties": lists, "required": ["weights"]}
    question = "List the weight of the Bluebird kettle."
    answer = model.ask(question, held(OutputConstraint.json_schema(schema)))
    assert json.loads(answer.text) == {"weights": [1.35]}
    question = "What is the population of Port Vela?"
    assert fill(question, population="integer") == ({"population": 1_200_000}, ["1200000"])
    assert fill("What is the salary of Astrid Lund?", name="string", salary="integer") == (
        {"name": "Astrid Lund", "salary": 71400},
        ["71400"],
    )


@pytest.mark.weights
def test_what_a_form_calls_a_property_says_which_fact_fills_it() -> None:
    model = KBLaM.from_pretrained().attach(
        [
            ("Cairn & Pine Outfitters", "email", "help@cairn.example"),
            ("Cairn & Pine Outfitters", "website", "https://www.cairn.example"),
            ("Ember Stove Pro", "sku", "EM-ST-7P"),
            ("Ember Stove Pro", "weight", "345 g"),
            ("Ember Stove", "sku", "EM-ST-5"),
            ("Ember Stove", "weight", "310 g"),
        ]
    )

    def fill(question: str, *names: str) -> dict[str, str]:
        kinds = {name: {"type": "string"} for name in names}
        schema = {"type": "object", "properties": kinds, "required": list(names)}
        return json.loads(model.ask(question, held(OutputConstraint.json_schema(schema))).text)

    both = {"email": "help@cairn.example", "website": "https://www.cairn.example"}
    question = "What are the email and website of Cairn & Pine Outfitters?"
    assert fill(question, "email", "website") == both
    assert fill(question, "website", "email") == both
    question = "Give me the weight and the SKU of the Ember Stove Pro."
    assert fill(question, "sku", "weight") == {"sku": "EM-ST-7P", "weight": "345 g"}


@pytest.mark.weights
def test_several_facts_fill_a_form() -> None:
    model = KBLaM.from_pretrained().attach(
        [
            ("Aurora", "launch code", "QX-7719"),
            ("Aurora", "project lead", "Mirela Osei"),
            ("Borealis", "project lead", "Tomas Lindqvist"),
        ]
    )
    schema = {
        "type": "object",
        "properties": {"launch_code": {"type": "string"}, "project_lead": {"type": "string"}},
        "required": ["launch_code", "project_lead"],
    }
    answer = model.ask("Describe Aurora.", held(OutputConstraint.json_schema(schema)))
    assert json.loads(answer.text) == {"launch_code": "QX-7719", "project_lead": "Mirela Osei"}
    assert [citation.fact.value for citation in answer.citations] == ["QX-7719", "Mirela Osei"]


@pytest.mark.weights
def test_what_the_model_refuses_in_words_gets_no_form_filled() -> None:
    facts = [("Larkspur Instruments", "director", "Ines Okafor"), ("Aurora", "site", "Faro")]
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = held(OutputConstraint.json_schema(schema))
    model = KBLaM.from_pretrained().attach(facts)
    # The estimate refuses nothing: what is refused, the model would refuse itself.
    lenient = model.with_options(refusal_threshold=0.9999)
    for question in ("What is the population of Brizal?", "Who is the mother of Toma Weill?"):
        assert lenient.ask(question).refused
        assert lenient.ask(question, form).refused
    batch = ["Who is the mother of Toma Weill?", "Who is the director of Larkspur Instruments?"]
    first, second = lenient.ask_batch(batch, form)
    assert first.refused
    assert json.loads(second.text) == {"name": "Ines Okafor"}
    # What names nothing is no question for the facts, and who never refuses gets the form.
    assert json.loads(lenient.ask("Write a word for something very cold.", form).text)
    never = model.with_options(refusal_threshold=1.0)
    assert json.loads(never.ask("Who is the mother of Toma Weill?", form).text)
