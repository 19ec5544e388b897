from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.errors import ConfigError, SourceError
from kblam.evaluation import PreservationConfig, evaluate_preservation, load_facts, load_prompts
from kblam.evaluation._forcing import Follower, Recorder
from kblam.evaluation._generating import generating_with
from kblam.evaluation.likelihood import reply_log_likelihoods
from kblam.model import KBLaM

DATA = Path(__file__).parents[1] / "data" / "evaluation"
PROMPTS = ["Hello!", "Count to ten.", "Write a poem about the sea.", "Why?", "Thank you."]


@pytest.fixture
def settings(tmp_path: Path) -> PreservationConfig:
    prompts = tmp_path / "prompts.jsonl"
    rows = [
        {
            "kind": "chat" if len(text) < 11 else "task",
            "messages": [{"role": "user", "content": text}],
        }
        for text in PROMPTS
    ]
    prompts.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return PreservationConfig(
        facts=DATA / "facts.jsonl",
        prompts=prompts,
        num_facts=12,
        max_new_tokens=8,
        batch_size=2,
        bootstrap=50,
    )


def test_facts_that_change_replies_are_noticed(
    words_model: KBLaM, settings: PreservationConfig, tmp_path: Path
) -> None:
    result = evaluate_preservation(settings, model=words_model, progress=False)
    values = json.loads(result.write(tmp_path / "new" / "out.json").read_text(encoding="utf-8"))
    assert values["task"] == "preservation"
    assert (values["num_facts"], values["num_prompts"]) == (12, 5)
    assert values["kl_per_token"] > 0.0
    assert values["kl_per_token"] == values["kl_per_token_answered"]
    low, high = values["intervals"]["kl_per_token"]
    assert low <= values["kl_per_token"] <= high
    assert values["kl_per_token_p95"] >= values["kl_per_token"]
    assert values["refused"] == 0.0
    assert values["identical"] < 1.0
    assert 0.0 <= values["common_prefix"] < 1.0
    assert set(values["kinds"]) == {"chat", "task"}
    assert values["tokens"] == sum(record.tokens for record in result.records)
    for record in result.records:
        assert record.identical == (record.reply == record.base_reply)
        likelihoods = reply_log_likelihoods(
            words_model, [record.messages] * 2, [record.base_reply, record.reply]
        )
        assert record.lost == pytest.approx(likelihoods[0] - likelihoods[1], abs=1e-4)
    mean = sum(record.lost for record in result.records) / len(result.records)
    assert values["likelihood_lost"] == pytest.approx(mean)
    assert mean != 0.0


def test_a_model_does_not_differ_from_itself(words_model: KBLaM) -> None:
    options = GenerationOptions(max_new_tokens=6)
    recorder = Recorder()
    with generating_with(words_model.base, processors=[recorder]):
        plain = words_model.ask_batch(PROMPTS, options)
    follower = Follower(recorder, [answer.usage.output_tokens for answer in plain])
    with generating_with(words_model.base, processors=[follower]):
        forced = words_model.ask_batch(PROMPTS, options)
    assert [a.text for a in forced] == [a.text for a in plain]
    assert all(all(row) for row in follower.agrees)
    assert max(max(row) for row in follower.divergence) < 1e-6
    assert [len(row) for row in follower.divergence] == [a.usage.output_tokens for a in plain]
    assert "generate" not in vars(words_model.base)


def test_the_divergence_is_that_of_the_offered_distributions(
    words_model: KBLaM, settings: PreservationConfig
) -> None:
    result = evaluate_preservation(
        replace(settings, max_new_tokens=1, batch_size=1, num_facts=None),
        model=words_model,
        progress=False,
    )
    facts = load_facts(DATA / "facts.jsonl")
    offered = []
    for model in (words_model, words_model.with_options().attach(facts)):
        recorder = Recorder()
        with generating_with(model.base, processors=[recorder]):
            model.ask(PROMPTS[0], GenerationOptions(max_new_tokens=1))
        offered.append(recorder.log_probs[0][0])
    expected = torch.nn.functional.kl_div(offered[1], offered[0], log_target=True, reduction="sum")
    assert result.records[0].divergence == pytest.approx(float(expected), rel=1e-4)


def test_refusals_count(words_model: KBLaM, settings: PreservationConfig) -> None:
    refusing = words_model.with_options(refusal_threshold=0.0)
    result = evaluate_preservation(settings, model=refusing, progress=False)
    assert result.refused == 1.0
    assert result.identical == result.common_prefix == 0.0
    assert result.kl_per_token_answered is None
    assert result.likelihood_lost is None
    assert result.kl_per_token > 1.0
    assert all(record.reply == refusing.refusal for record in result.records)


def test_a_refusal_that_the_forced_reply_does_not_show_counts_as_well(
    words_model: KBLaM, settings: PreservationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = KBLaM.ask

    def refuse(self: KBLaM, *args: Any, **kwargs: Any) -> Answer:
        return replace(ask(self, *args, **kwargs), text=self.refusal, refused=True)

    monkeypatch.setattr(KBLaM, "ask", refuse)
    result = evaluate_preservation(settings, model=words_model, progress=False)
    others = [record for record in result.records if not record.identical]
    assert others
    assert all(record.refused and record.reply == words_model.refusal for record in others)
    assert result.refused == pytest.approx(len(others) / len(PROMPTS))


def test_a_reply_that_is_the_bases_after_all_is_identical(
    words_model: KBLaM, settings: PreservationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal that was about to be written is taken back, and the base replies."""
    before = evaluate_preservation(settings, model=words_model, progress=False)
    assert before.identical < 1.0
    ask = KBLaM.ask
    base = words_model.with_options().detach()
    monkeypatch.setattr(KBLaM, "ask", lambda _, *given, **named: ask(base, *given, **named))
    after = evaluate_preservation(settings, model=words_model, progress=False)
    assert after.identical == after.common_prefix == 1.0
    assert after.refused == 0.0
    assert all(record.reply == record.base_reply for record in after.records)
    # What facts do to the forced reply is told all the same.
    assert after.kl_per_token == pytest.approx(before.kl_per_token)


def test_copying_counts(
    make_words_model: Callable[..., KBLaM], settings: PreservationConfig
) -> None:
    copying = make_words_model(copies="after a colon")
    assert settings.prompts is not None
    # Not general ones: only what is about the facts opens the gate of this adapter.
    message = {"role": "user", "content": "the chemical symbol of Iron"}
    settings.prompts.write_text(json.dumps({"kind": "fact", "messages": [message]}), "utf-8")
    copied, plain = (
        evaluate_preservation(
            replace(settings, num_facts=None),
            model=copying.with_options(grounding=grounding),
            progress=False,
        )
        for grounding in ("copy", "off")
    )
    assert copied.kl_per_token > 2 * plain.kl_per_token


def test_an_interrupted_measurement_goes_on(
    words_model: KBLaM, settings: PreservationConfig, tmp_path: Path
) -> None:
    config = replace(settings, resume=tmp_path / "prompts-done.jsonl")
    assert config.resume is not None
    whole = evaluate_preservation(config, model=words_model, progress=False)
    lines = config.resume.read_text(encoding="utf-8").splitlines(keepends=True)
    config.resume.write_text("".join(lines[:3]) + lines[3][:25], encoding="utf-8")
    again = evaluate_preservation(config, model=words_model, progress=False)
    assert again.kl_per_token == pytest.approx(whole.kl_per_token, rel=1e-4)
    with pytest.raises(ConfigError, match="settings differ: num_facts"):
        evaluate_preservation(replace(config, num_facts=3), model=words_model, progress=False)


def test_a_sample_of_prompts_and_facts_depends_on_the_seed(
    words_model: KBLaM, settings: PreservationConfig
) -> None:
    config = replace(settings, limit=3, num_facts=999, seed=1)
    one, other = (
        evaluate_preservation(config, model=words_model, progress=False) for _ in range(2)
    )
    assert [r.index for r in one.records] == [r.index for r in other.records]
    assert one.num_prompts == 3
    assert one.notes == ("999 facts were asked for; the file has 45.",)


def test_the_prompts_that_are_shipped() -> None:
    prompts = load_prompts()
    assert len(prompts) == len({json.dumps(p.messages) for p in prompts}) == 200
    kinds = Counter(prompt.kind for prompt in prompts)
    assert len(kinds) >= 10
    assert max(kinds.values()) <= 30
    with_system = sum(prompt.messages[0]["role"] == "system" for prompt in prompts)
    assert 30 <= with_system <= 60


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty"),
        ("{", "line 1"),
        ('{"kind": "chat"}', "line 1"),
        ('{"kind": "chat", "messages": [{"role": "user"}]}', "line 1"),
        ('{"kind": "chat", "messages": [{"role": "user", "content": "\\ud800"}]}', "line 1"),
        pytest.param("[" * 100_000, "line 1.*deeper", id="deep"),
        pytest.param("1" * 5_000, "line 1", id="5000 digits"),
    ],
)
def test_bad_prompts_are_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        load_prompts(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_prompts(tmp_path / "none.jsonl")


def test_prompts_are_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    text = '{"kind": "chat", "messages": [{"role": "user", "content": "Grüezi"}]}'
    path.write_text(text, encoding="utf-8-sig")
    (prompt,) = load_prompts(path)
    assert prompt.messages[0]["content"] == "Grüezi"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(SourceError, match=r"prompts\.jsonl to be UTF-8"):
        load_prompts(path)


def test_a_prompt_may_hold_any_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    row = {"kind": "chat", "messages": [{"role": "user", "content": "One\u2028two\x85three"}]}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    (prompt,) = load_prompts(path)
    assert list(prompt.messages) == row["messages"]


@pytest.mark.parametrize("change", [{"num_facts": 0}, {"batch_size": 0}, {"bootstrap": -1}])
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        PreservationConfig(facts=DATA / "facts.jsonl", **change)


def test_records_from_before_replies_were_judged_are_not_taken_for_unharmed(
    words_model: KBLaM, settings: PreservationConfig, tmp_path: Path
) -> None:
    resumed = replace(settings, resume=tmp_path / "records.jsonl")
    evaluate_preservation(resumed, model=words_model, progress=False)
    head, *lines = resumed.resume.read_text("utf-8").splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k != "lost"} for line in lines]
    resumed.resume.write_text("\n".join([head, *map(json.dumps, rows), ""]), "utf-8")
    with pytest.raises(ConfigError, match=r"records of this version.*lost"):
        evaluate_preservation(resumed, model=words_model, progress=False)
