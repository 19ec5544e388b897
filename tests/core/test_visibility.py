"""What a caller may not see has no part in any number that the caller's answer is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from observing import logits_of, row_of, same, told
from tiny_kblam import FACTS, WordEncoder, save_tiny

from kblam import _knowledge_base
from kblam._knowledge_base import KnowledgeBase, SeenFacts
from kblam.config import GenerationOptions
from kblam.knowledge import KnowledgeStore, Triple, View
from kblam.model import KBLaM

RED = View.build(metadata={"team": "red"})
BLUE = View.build(metadata={"team": "blue"})
NOBODY = View.build(metadata={"team": "green"})
SHORT = GenerationOptions(max_new_tokens=6)
QUESTIONS = [f"What is the {name} of {entity}?" for entity, name, _ in FACTS]


def red(count: int = len(FACTS)) -> list[Triple]:
    return [Triple(*fact, metadata={"team": "red"}) for fact in FACTS[:count]]


def blue(count: int, value: str = "SECRET") -> list[Triple]:
    """Facts that fit the questions as well as those that are shown, under the same keys."""
    keys = [fact[:2] for fact in FACTS]
    return [
        Triple(*keys[i % len(keys)], f"{value} {i}", metadata={"team": "blue"})
        for i in range(count)
    ]


def observe(
    model: KBLaM, triples: Sequence[Triple], prompts: Sequence[str], options: Any, **call: Any
) -> tuple[list[Any], list[Any]]:
    """Logits and answers over a store of these facts."""
    with KnowledgeStore.from_source(triples) as store, logits_of(model) as logits:
        model.attach(store)
        if "trace" in call:
            answers = [model.ask(prompts[0], options, **call)]
        else:
            answers = model.ask_batch(prompts, options, **call)
        return logits, [told(answer) for answer in answers]


class TestHiddenFacts:
    @pytest.mark.parametrize("kind", ["rambling", "copying"])
    @pytest.mark.parametrize("shown", [1, 3, 6])
    @pytest.mark.parametrize("hidden", [1, 5, 90, 700])
    def test_logits_and_answers_are_those_of_a_store_without_them(
        self, load: Callable[..., KBLaM], kind: str, shown: int, hidden: int
    ) -> None:
        model = load(kind)
        expected = observe(model, red(shown), QUESTIONS, SHORT, view=RED)
        assert expected[1][0]["facts"]
        mixed = [*blue(hidden)[::2], *red(shown), *blue(hidden)[1::2]]
        for triples in ([*blue(hidden), *red(shown)], [*red(shown), *blue(hidden)], mixed):
            logits, answers = observe(model, triples, QUESTIONS, SHORT, view=RED)
            assert same(logits, expected[0])
            assert answers == expected[1]

    @pytest.mark.parametrize(
        "options",
        [
            GenerationOptions(max_new_tokens=6, num_beams=3),
            GenerationOptions(max_new_tokens=6, temperature=1.0, seed=3),
        ],
    )
    def test_however_it_is_generated(self, load: Callable[..., KBLaM], options: Any) -> None:
        model = load("copying")
        for call in ({}, {"trace": True}):
            expected = observe(model, red(), QUESTIONS[:2], options, view=RED, **call)
            found = observe(model, [*blue(99), *red()], QUESTIONS[:2], options, view=RED, **call)
            assert same(found[0], expected[0])
            assert found[1] == expected[1]

    def test_nor_where_every_layer_reads_all_facts(
        self, tmp_path_factory: pytest.TempPathFactory, encoder: WordEncoder
    ) -> None:
        folder = tmp_path_factory.mktemp("unselected")
        pair = save_tiny(folder, encoder, selection=None, grounded=False)
        model = KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=encoder)
        views = [RED, BLUE, NOBODY, RED, None, BLUE]
        facts = [*blue(40), *red()]
        expected = observe(model, red(), QUESTIONS[:2], SHORT, view=RED)
        assert same(observe(model, facts, QUESTIONS[:2], SHORT, view=RED)[0], expected[0])
        _, answers = observe(model, facts, QUESTIONS, SHORT, views=views)
        for row, view in enumerate(views):
            together = [r for r, other in enumerate(views) if other == view]
            prompts = [QUESTIONS[r] for r in together]
            _, own = observe(model, facts, prompts, SHORT, view=view)
            assert answers[row] == own[together.index(row)]
        assert answers[2]["refused"]

    @settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["Aurora", "Borealis", "Project Heron", "Corvid"]),
                st.sampled_from(["launch code", "budget", "office", "what is the of"]),
                st.text("aAX7- ", min_size=1).filter(str.strip),
                st.sampled_from([{"team": "blue"}, {}, {"team": None}, {"team": ["blue"]}]),
            ),
            max_size=30,
        ),
        st.integers(0, 30),
    )
    def test_whatever_they_say(
        self, load: Callable[..., KBLaM], hidden: list[Any], before: int
    ) -> None:
        model = load("copying")
        said = {fact[:3] for fact in FACTS}
        triples = [
            Triple(*fact[:3], metadata=fact[3])
            for fact in hidden
            if tuple(part.strip() for part in fact[:3]) not in said
        ]
        expected = observe(model, red(), QUESTIONS[:3], SHORT, view=RED)
        facts = [*triples[:before], *red(), *triples[before:]]
        logits, answers = observe(model, facts, QUESTIONS[:3], SHORT, view=RED)
        assert same(logits, expected[0])
        assert answers == expected[1]


class TestCallersInOneBatch:
    VIEWS = (RED, BLUE, None, RED, BLUE, RED)

    @pytest.mark.parametrize("kind", ["rambling", "copying"])
    @pytest.mark.parametrize(("shown", "hidden"), [(6, 3), (2, 80), (6, 700)])
    def test_a_row_is_as_if_all_callers_had_its_view(
        self, load: Callable[..., KBLaM], kind: str, shown: int, hidden: int
    ) -> None:
        model, facts = load(kind), [*blue(hidden), *red(shown)]
        logits, answers = observe(model, facts, QUESTIONS, SHORT, views=self.VIEWS)
        for row, view in enumerate(self.VIEWS):
            alone, expected = observe(model, facts, QUESTIONS, SHORT, view=view)
            assert answers[row] == expected[row]
            # The others may go on for longer, or end before this row does.
            steps = min(len(logits), len(alone))
            assert same(row_of(logits[:steps], row), row_of(alone[:steps], row))

    def test_what_the_others_see_does_not_matter(self, load: Callable[..., KBLaM]) -> None:
        model = load("copying")
        first, expected = observe(
            model, [*blue(9), *red()], QUESTIONS, SHORT, views=[RED, BLUE, BLUE, RED, BLUE, RED]
        )
        for hidden in (blue(9, "other"), blue(300, "more"), blue(1)):
            logits, answers = observe(
                model, [*hidden, *red()], QUESTIONS, SHORT, views=[RED, BLUE, None, RED, BLUE, RED]
            )
            for row in (0, 3, 5):
                assert answers[row] == expected[row]
                steps = min(len(logits), len(first))
                assert same(row_of(logits[:steps], row), row_of(first[:steps], row))
            assert any("team': 'blue" in repr(answers[row]) for row in (1, 4))

    def test_who_sees_nothing_is_not_in_the_batch(self, load: Callable[..., KBLaM]) -> None:
        model, facts = load("copying"), [*blue(9), *red()]
        views = [RED, NOBODY, BLUE, NOBODY]
        logits, answers = observe(model, facts, QUESTIONS[:4], SHORT, views=views)
        rest = [QUESTIONS[0], QUESTIONS[2]]
        expected, others = observe(model, facts, rest, SHORT, views=[RED, BLUE])
        assert same(logits, expected)
        assert [answers[0], answers[2]] == others
        assert all(answers[row]["refused"] and not answers[row]["facts"] for row in (1, 3))


class TestChanges:
    QUESTION = QUESTIONS[0]

    def test_a_fact_that_changes_sides_is_in_the_next_answer_of_the_other(
        self, copying: KBLaM
    ) -> None:
        with KnowledgeStore.from_source([*red(), *blue(3)]) as store:
            model = copying.attach(store)
            for team, others in (("blue", RED), ("red", BLUE), ("blue", RED)):
                store.upsert([Triple("Aurora", "launch code", "Z", metadata={"team": team})])
                view = store.view(team=team)
                assert model.ask(self.QUESTION, view=view).text == "Z"
                hidden = model.ask(self.QUESTION, view=others)
                assert "Z" not in repr(told(hidden))
            store.upsert([Triple("Aurora", "launch code", "Z")])
            for view in (RED, BLUE):
                assert "Z" not in repr(told(model.ask(self.QUESTION, view=view)))

    def test_also_in_a_source_that_is_followed(self, copying: KBLaM) -> None:
        class Source:
            team = "red"

            def triples(self) -> Any:
                yield Triple("Aurora", "launch code", "QX", "id", metadata={"team": self.team})
                yield Triple("Borealis", "office", "Rome", metadata={"team": "red"})
                yield Triple("Borealis", "office", "Oslo", metadata={"team": "blue"})

            def count(self) -> None:
                return None

            def state(self) -> str:
                return self.team

        with KnowledgeStore() as store:
            source = Source()
            store.follow(source)
            model = copying.attach(store)
            for team in ("red", "blue", "red"):
                source.team = team
                for view in (RED, BLUE):
                    shown = "QX" in repr(told(model.ask(self.QUESTION, view=view)))
                    assert shown == (view == store.view(team=team))

    def test_a_fact_that_left_the_view_while_it_was_read_is_not_told(self, copying: KBLaM) -> None:
        with KnowledgeStore.from_source(red()) as store:
            copying.attach(store)
            base: KnowledgeBase = copying._attached[0]
            seen = base.seen_by([RED])
            store.upsert([Triple("Aurora", "launch code", "NEW", metadata={"team": "blue"})])
            with store.snapshot() as later:
                facts = _knowledge_base.replace(seen.facts, texts=later)
                texts = SeenFacts(facts, seen.views, seen.shown).texts(RED, range(len(FACTS)))
            assert [fact is None for fact in texts] == [True] + [False] * 5


def test_very_many_views_are_exact_and_take_little(
    load: Callable[..., KBLaM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_knowledge_base, "_VIEW_BYTES", 16 * 40)
    facts = [Triple(f"Place {i}", "code", str(i), metadata={"to": i % 50}) for i in range(200)]
    with KnowledgeStore.from_source(facts) as store:
        base: KnowledgeBase = load().attach(store)._attached[0]
        for turn in range(3):
            store.add(Triple(f"New {turn}", "code", "x", metadata={"to": turn}))
            for number in range(50):
                view = store.view(to=number)
                seen = base.seen_by([view])
                ids = seen.facts.vectors.fact_ids
                shown = [ids[place] for place in seen.shown[view].places]
                assert shown == [fact.id for fact in store.facts(view)]
                assert sum(held.nbytes for held in base._views.values()) <= 16 * 40
        # A batch has all of its views, whatever they take.
        views = [store.view(to=number) for number in range(50)]
        assert len(base.seen_by(views).shown) == 50
