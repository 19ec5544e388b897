from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import ConfigError
from kblam.evaluation import METHODS, EvaluationConfig, RetrievalConfig, evaluate
from kblam.model import KBLaM

pytestmark = pytest.mark.weights

DATA = Path(__file__).parents[1] / "data" / "evaluation"
FIXED = [
    "method",
    "num_facts",
    "num_questions",
    "recall_at_1",
    "recall_at_5",
    "exact_match",
    "contains",
    "token_f1",
    "refusal_precision",
    "refusal_recall",
    "seconds_per_question",
    "time_to_first_token",
    "peak_memory_mb",
    "model",
    "adapter",
    "versions",
]
SHARES = FIXED[3:10]


def settings(**changes: Any) -> EvaluationConfig:
    fixed: dict[str, Any] = {
        "facts": DATA / "facts.jsonl",
        "questions": DATA / "questions.jsonl",
        "num_facts": 20,
        "limit": 6,
        "max_new_tokens": 12,
        "bootstrap": 50,
    }
    return EvaluationConfig(**fixed | changes)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_gives_the_fixed_fields(model: KBLaM, method: str, tmp_path: Path) -> None:
    config = settings(method=method, context_tokens=300)
    result = evaluate(config, model=model, progress=False)
    values = json.loads(result.write(tmp_path / "new" / "out.json").read_text(encoding="utf-8"))
    assert list(values)[: len(FIXED)] == FIXED
    assert (values["method"], values["num_facts"], values["num_questions"]) == (method, 20, 6)
    assert (values["num_answerable"], values["num_unanswerable"]) == (5, 1)
    assert values["model"] == model.model_name
    assert (values["adapter"] is None) is (method != "kblam")
    assert {"python", "kblam", "torch", "transformers"} <= set(values["versions"])
    ranks = method in ("kblam", "rag", "bm25")
    for name in SHARES:
        if name.startswith("recall") and not ranks:
            assert values[name] is None
        else:
            assert 0.0 <= values[name] <= 1.0
    assert 0.0 < values["time_to_first_token"] <= values["seconds_per_question"]
    assert values["peak_memory_mb"] > 100
    assert len(result.records) == 6


def test_retrieved_facts_and_selected_facts_are_the_gold_ones(model: KBLaM) -> None:
    # An untrained adapter selects by the encoder's embedding of the question, as `rag` does.
    for method in ("kblam", "rag"):
        config = settings(method=method, limit=15, num_facts=None, max_new_tokens=1)
        result = evaluate(config, model=model, progress=False)
        assert result.recall_at_1 is not None
        assert result.recall_at_1 >= 0.9
        assert result.recall_at_5 == 1.0
        assert result.num_facts == 45


def test_rag_reads_the_answer_from_its_prompt(real_model: KBLaM) -> None:
    config = settings(method="rag", max_new_tokens=24, batch_size=5, timed_questions=1)
    result = evaluate(config, model=real_model, progress=False)
    assert result.contains is not None
    assert result.contains >= 0.6


def test_a_store_that_is_attached_is_neither_read_nor_touched(model: KBLaM) -> None:
    own = model.with_options().attach([("Ann", "boss", "Bob")])
    config = settings(method="base", limit=2, max_new_tokens=2)
    alone, beside = (evaluate(config, model=m, progress=False) for m in (model, own))
    assert [r.reply for r in alone.records] == [r.reply for r in beside.records]
    assert all(r.rank is None for r in beside.records)
    evaluate(settings(limit=2, max_new_tokens=2), model=own, progress=False)
    assert own.store is not None
    assert len(own.store) == 1


def test_more_facts_make_a_longer_prompt(model: KBLaM) -> None:
    one = evaluate(settings(method="rag"), model=model, progress=False)
    five = evaluate(
        settings(method="rag", retrieval=RetrievalConfig(top_k=5)), model=model, progress=False
    )
    assert five.input_tokens > one.input_tokens


def test_in_context_prefers_gold_facts(model: KBLaM) -> None:
    roomy = evaluate(settings(method="in-context", limit=1), model=model, progress=False)
    assert roomy.notes == ("20 of 20 facts fit the context.",)
    tight = evaluate(
        settings(method="in-context", limit=1, context_tokens=170), model=model, progress=False
    )
    fit = int(tight.notes[0].split()[0])
    assert 1 <= fit < 20
    assert tight.input_tokens <= 170 - 12 < roomy.input_tokens
    with pytest.raises(ConfigError, match=r"at least \d+ tokens for the prompt without facts"):
        evaluate(settings(method="in-context", context_tokens=20), model=model, progress=False)


def test_a_batch_gives_the_same_replies_as_one_at_a_time(model: KBLaM) -> None:
    alone = evaluate(settings(method="rag"), model=model, progress=False)
    batched = evaluate(
        settings(method="rag", batch_size=4, timed_questions=2), model=model, progress=False
    )
    assert [r.reply for r in batched.records] == [r.reply for r in alone.records]
    assert [r.seconds is not None for r in batched.records] == [True] * 2 + [False] * 4
    assert batched.seconds_per_question is not None


def test_an_interrupted_run_goes_on(model: KBLaM, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    config = settings(method="base", resume=path)
    whole = evaluate(config, model=model, progress=False)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 1 + 6
    # As a killed run leaves it: three questions answered, the fourth half written.
    path.write_text("".join(lines[:4]) + lines[4][:25], encoding="utf-8")
    again = evaluate(config, model=model, progress=False)
    assert [r.reply for r in again.records] == [r.reply for r in whole.records]
    assert again.records[0].seconds == whole.records[0].seconds  # kept, not asked again
    assert again.records[5].seconds != whole.records[5].seconds
    with pytest.raises(ConfigError, match="settings differ: method, num_facts"):
        evaluate(replace(config, method="rag", num_facts=19), model=model, progress=False)
    path.write_text("something else\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="begin with the settings"):
        evaluate(config, model=model, progress=False)


def test_changed_questions_are_noticed(model: KBLaM, tmp_path: Path) -> None:
    questions, path = tmp_path / "q.jsonl", tmp_path / "answers.jsonl"
    text = (DATA / "questions.jsonl").read_text(encoding="utf-8")
    questions.write_text(text, encoding="utf-8")
    config = settings(method="base", questions=questions, resume=path, max_new_tokens=1)
    evaluate(config, model=model, progress=False)
    questions.write_text(text.replace('?"', '??"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="the same questions"):
        evaluate(config, model=model, progress=False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"method": "magic"},
            "method among kblam, base, rag, in-context, cached-prefix, bm25, got 'magic'",
        ),
        ({"limit": 0}, "limit >= 1 or None, got 0"),
        ({"num_facts": -1}, "num_facts >= 1 or None, got -1"),
        ({"batch_size": 0}, "batch_size >= 1, got 0"),
        ({"wording": "rude"}, "wording among .*'rude'"),
        ({"bootstrap": -1}, "bootstrap >= 0"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        settings(**change)
    with pytest.raises(ConfigError, match="top_k >= 1"):
        RetrievalConfig(top_k=0)
    with pytest.raises(ConfigError, match="text to be one of"):
        RetrievalConfig(text="poem")  # type: ignore[arg-type]
