from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kblam.evaluation import EvaluationConfig, evaluate, load_facts, load_questions
from kblam.evaluation.in_context import CachedPrefix
from kblam.evaluation.tasks import build_task
from kblam.model import KBLaM

DATA = Path(__file__).parents[1] / "data" / "evaluation"
SETTINGS = EvaluationConfig(
    facts=DATA / "facts.jsonl",
    questions=DATA / "questions.jsonl",
    method="cached-prefix",
    num_facts=12,
    limit=4,
    max_new_tokens=8,
    bootstrap=0,
)


def test_replies_are_those_of_the_whole_prompt(words_model: KBLaM) -> None:
    cached = evaluate(SETTINGS, model=words_model, progress=False)
    whole = evaluate(replace(SETTINGS, method="in-context"), model=words_model, progress=False)
    assert [r.reply for r in cached.records] == [r.reply for r in whole.records]
    assert [r.input_tokens for r in cached.records] == [r.input_tokens for r in whole.records]
    assert cached.notes == whole.notes
    assert cached.time_to_first_token is not None
    batched = evaluate(
        replace(SETTINGS, batch_size=3, timed_questions=1), model=words_model, progress=False
    )
    assert [r.reply for r in batched.records] == [r.reply for r in whole.records]
    assert [r.seconds is None for r in batched.records] == [False, True, True, True]


def test_only_what_follows_the_facts_is_read_for_a_question(words_model: KBLaM) -> None:
    task = build_task(
        load_facts(SETTINGS.facts), load_questions(SETTINGS.questions), num_facts=12, limit=4
    )
    method = CachedPrefix(words_model.with_options().detach(), task, SETTINGS)
    method.prepare()
    read: list[int] = []
    hook = words_model.base.base_model.register_forward_pre_hook(
        lambda _, __, named: read.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        for question in task.questions:
            read.clear()
            method.answer(question.text)
            whole = method.model.count_tokens(method.prompt(question.text))
            # No part of a question is read in advance, and all facts are.
            assert len(question.text) / 4 < read[0] < whole / 2
            assert set(read[1:]) <= {1}
    finally:
        hook.remove()
    held = method._cache.get_seq_length()
    assert held + 1 < method.model.count_tokens(method.prompt("Who?"))
