"""What is written is read by others, and by later versions: names that must stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kblam.evaluation import (
    EvaluationConfig,
    PreservationConfig,
    SuiteConfig,
    evaluate,
    evaluate_preservation,
)
from kblam.evaluation.suite_plan import plan_suite
from kblam.model import KBLaM

DATA = Path(__file__).parents[1] / "data" / "evaluation"
FACTS, QUESTIONS = DATA / "facts.jsonl", DATA / "questions.jsonl"
MODEL = {"base_model", "adapter", "encoder", "grounding"}
DRAWN = {"facts", "num_facts", "limit", "seed", "max_new_tokens"}
ASKED = MODEL | DRAWN | {"questions", "method", "retrieval", "wording", "context_tokens"}
COMPARED = MODEL | DRAWN | {"prompts"}
HOW = {"device", "batch_size", "bootstrap", "resume"}


def test_settings_have_the_same_names_as_ever() -> None:
    asking = EvaluationConfig(facts=FACTS, questions=QUESTIONS)
    assert set(asking.for_replies()) == ASKED
    assert set(asking.to_dict()) == ASKED | HOW | {"timed_questions"}
    assert asking.to_dict()["retrieval"] == {"top_k": 1, "text": "key"}
    assert asking.to_dict()["facts"] == str(FACTS)
    comparing = PreservationConfig(facts=FACTS)
    assert set(comparing.for_replies()) == COMPARED
    assert set(comparing.to_dict()) == COMPARED | HOW
    suite = SuiteConfig(facts=FACTS, questions=QUESTIONS, output=Path("out"))
    assert set(suite.for_replies()) == MODEL | {
        *("facts", "questions", "limit", "seed", "max_new_tokens", "wording", "context_tokens"),
        *("preservation_facts", "preservation_prompts", "attention_questions"),
    }


def test_cells_of_a_suite_have_its_settings() -> None:
    changes = {"limit": 7, "seed": 3, "encoder": "e", "grounding": "off", "bootstrap": 9}
    suite = SuiteConfig(
        facts=FACTS,
        questions=QUESTIONS,
        output=Path("out"),
        sizes=(None,),
        max_new_tokens=5,
        batch_size=2,
        wording="refuse",
        preservation_prompts=4,
        **changes,  # type: ignore[arg-type]
    )
    for cell in plan_suite(suite):
        settings = cell.config.to_dict()
        preserving = isinstance(cell.config, PreservationConfig)
        wanted = changes | ({"limit": 4} if preserving else {"wording": "refuse"})
        assert {name: settings[name] for name in wanted} == wanted
        # The comparison with the base keeps its own lengths and batches.
        sizes = (settings["max_new_tokens"], settings["batch_size"])
        assert sizes == ((48, 8) if preserving else (5, 2))


def test_files_of_replies_begin_with_the_settings(words_model: KBLaM, tmp_path: Path) -> None:
    asking = EvaluationConfig(
        facts=FACTS, questions=QUESTIONS, limit=3, max_new_tokens=2, resume=tmp_path / "a.jsonl"
    )
    result = evaluate(asking, model=words_model, progress=False)
    assert result.to_dict()["settings"] == asking.to_dict()
    lines = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    header = asking.for_replies() | {"adapter_fingerprint": words_model.adapter_fingerprint}
    assert json.loads(lines[0]) == {"settings": header}
    assert list(json.loads(lines[1])) == [
        *("index", "question", "answers", "reply", "refused", "rank", "ranked", "exact_match"),
        *("contains", "value_once", "token_f1", "input_tokens", "output_tokens", "seconds"),
        *("time_to_first_token", "entity", "property"),
    ]
    # What replies do not depend on may change.
    evaluate(replace(asking, bootstrap=0, device="cpu"), model=words_model, progress=False)


def test_results_have_the_same_names_as_ever(words_model: KBLaM, tmp_path: Path) -> None:
    asking = EvaluationConfig(facts=FACTS, questions=QUESTIONS, limit=3, max_new_tokens=2)
    asked = evaluate(asking, model=words_model, progress=False)
    assert list(json.loads(asked.write(tmp_path / "a.json").read_text("utf-8")))[16:] == [
        *("encoder", "value_once", "num_answerable", "num_unanswerable", "num_refused"),
        *("preparation_seconds", "input_tokens", "output_tokens", "intervals", "latency"),
        *("device", "threads", "settings", "notes"),
    ]
    comparing = PreservationConfig(facts=FACTS, limit=2, max_new_tokens=2, num_facts=9)
    compared = evaluate_preservation(comparing, model=words_model, progress=False)
    assert list(json.loads(compared.write(tmp_path / "p.json").read_text("utf-8"))) == [
        *("task", "num_facts", "num_prompts", "kl_per_token", "kl_per_token_answered"),
        *("kl_per_token_p95", "refused", "identical", "common_prefix", "likelihood_lost"),
        *(
            "model",
            "adapter",
            "encoder",
            "versions",
            "tokens",
            "kinds",
            "intervals",
            "seconds",
            "device",
            "threads",
        ),
        *("settings", "notes"),
    ]
