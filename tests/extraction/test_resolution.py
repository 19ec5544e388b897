from __future__ import annotations

from collections import defaultdict

import pytest
from many_spellings import make_world, pairs_of

from kblam.errors import ConfigError
from kblam.extraction import ResolutionOptions, resolve


def merged(facts, **options):
    report = resolve(facts, ResolutionOptions(**options)).entities
    return {frozenset((merge.name, *merge.aliases)) for merge in report.merges}


def facts_of(*names, **facts):
    return [(name, key, value) for name in names for key, value in facts.items()]


def test_spellings_are_merged_and_the_fact_is_said_once():
    resolution = resolve(
        [
            ("ACME Corp.", "founder", "Ann Lee"),
            ("Acme Corporation", "founder", "Dr. Ann Lee"),
            ("Acme Corporation", "headquarters", "Lund"),
            ("Dr. Ann Lee", "birthplace", "Oslo"),
        ]
    )
    assert {(t.entity, t.property, t.value) for t in resolution.triples} == {
        ("Acme Corporation", "founder", "Dr. Ann Lee"),
        ("Acme Corporation", "headquarters", "Lund"),
        ("Dr. Ann Lee", "birthplace", "Oslo"),
    }
    acme, lee = resolution.entities.merges
    assert (acme.name, acme.aliases) == ("Acme Corporation", ("ACME Corp.",))
    assert (lee.name, lee.aliases) == ("Dr. Ann Lee", ("Ann Lee",))
    assert acme.probability is not None
    assert acme.probability > 0.95
    assert resolution.entities.threshold == 0.95


def test_short_forms_are_merged_within_a_text_and_not_from_text_to_text():
    def told(first, second):
        return [
            {"entity": name, "property": key, "value": value, "metadata": {"document": document}}
            for name, key, value, document in (
                ("World Health Organization", "headquarters", "Geneva", first),
                ("WHO", "leader", "Tedros", second),
            )
        ]

    assert merged(told("a.md", "a.md")) == {frozenset(("World Health Organization", "WHO"))}
    assert not merged(told("a.md", "b.md"))


def test_misspelt_names_need_facts_that_agree():
    shared = {"employer": "Norlin", "residence": "Lund"}
    assert merged(
        facts_of("Tomas Lindqvist", "Tomas Lindqivst", **shared)
        + facts_of("Bo Ek", "Mirela Osei", employer="Heron", residence="Oslo", age="40")
    ) >= {frozenset(("Tomas Lindqvist", "Tomas Lindqivst"))}
    assert not merged(
        [("Tomas Lindqvist", "employer", "Norlin"), ("Tomas Lindqivst", "hobby", "chess")]
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Warehouse 42", "Warehouse 47"),
        ("North Station", "South Station"),
        ("Christina Ek", "Christine Ek"),
        ("Austria", "Australia"),
        ("Niger", "Nigeria"),
    ],
)
def test_names_that_only_look_alike_stay_apart_whatever_they_share(left, right):
    shared = {"owner": "Norlin", "town": "Lund", "opened": "1999"}
    assert not merged(facts_of(left, right, **shared))


def test_a_contradiction_keeps_names_apart_and_is_reported():
    facts = [
        ("Ann Lee", "birth date", "1970-05-01"),
        ("Dr. Ann Lee", "birth date", "1981-02-03"),
        ("Bo Ek", "birth date", "1 May 1970"),
        ("Ek, Bo", "birth date", "1970-05-01"),
    ]
    report = resolve(facts).entities
    assert [(merge.name, merge.aliases) for merge in report.merges] == [("Ek, Bo", ("Bo Ek",))]
    (apart,) = report.kept_apart
    assert {apart.left, apart.right} == {"Ann Lee", "Dr. Ann Lee"}
    assert apart.reason == "they differ in birth date"
    # Given what has one value, nothing else is taken for single.
    assert len(merged(facts, single_valued=["employer"])) == 2


def test_what_has_one_value_is_judged_from_the_facts():
    facts = [(f"Firm {i}", "chair", f"Person {i}") for i in range(10)]
    facts += [(f"Firm {i}", "owner", f"Person {j}") for i in range(10) for j in (i, i + 1)]
    told = {"entity": "Firm 3", "property": "chair", "value": "Someone Else"}
    resolution = resolve([*facts, {**told, "metadata": {"document": "b.md"}}])
    (contradiction,) = resolution.contradictions
    assert contradiction.values == ("Person 3", "Someone Else")
    assert str(contradiction) == "The chair of Firm 3: Person 3, Someone Else (b.md)"
    # A date said in other words, or less exactly, is the same date.
    same = [("Ann", "birth date", text) for text in ("1970-05-01", "May 1, 1970", "1970")]
    assert not resolve(same).contradictions


def test_a_short_form_of_two_names_is_merged_with_neither():
    facts = [
        {"entity": name, "property": key, "value": "Norlin", "metadata": {"document": "a.md"}}
        for name, key in (("John Smith", "chair"), ("Jane Smith", "clerk"), ("J. Smith", "guest"))
    ]
    report = resolve(facts).entities
    assert not report.merges
    assert {apart.reason for apart in report.kept_apart} == {
        "one of them may as well mean something else"
    }


def test_pairs_to_be_kept_apart_and_likely_ones():
    facts = [("ACME", "a", "1"), ("Acme Inc.", "b", "2")]
    assert merged(facts)
    assert not merged(facts, apart=[("Acme Inc.", "ACME")])
    misspelt = [("Tomas Lindqvist", "employer", "Norlin"), ("Tomas Lindqivst", "hobby", "chess")]
    (likely,) = resolve(misspelt).entities.likely
    assert {likely.left, likely.right} == {"Tomas Lindqvist", "Tomas Lindqivst"}
    assert likely.probability < 0.95


@pytest.mark.parametrize("threshold", [0.5, 1.1, float("nan")])
def test_thresholds_that_would_merge_strangers(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        ResolutionOptions(threshold=threshold)


@pytest.mark.parametrize("facts", [[], [("Ann", "age", "1")]])
def test_nothing_to_compare(facts):
    assert not merged(facts)


def test_the_order_of_the_facts_does_not_matter():
    world = make_world(60, seed=1)
    assert merged(world.facts) == merged(world.facts[::-1])


@pytest.mark.parametrize(("size", "estimated"), [(200, False), (1000, True)])
def test_made_up_names_are_told_apart(size, estimated):
    world = make_world(size, seed=4)
    groups = defaultdict(list)
    for name, entity in world.names.items():
        groups[entity].append(name)
    wanted = pairs_of(list(groups.values()))
    report = resolve(world.facts).entities
    found = pairs_of([[merge.name, *merge.aliases] for merge in report.merges])
    assert report.estimated is estimated
    assert len(wanted & found) >= 0.95 * len(found)
    assert len(wanted & found) >= 0.8 * len(wanted)
