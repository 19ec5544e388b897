from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from kblam._prompt import as_messages, tokenize
from kblam.errors import ConfigError, PromptTooLongError
from kblam.evaluation import EvaluationConfig, evaluate
from kblam.evaluation.likelihood import compare_likelihoods, gold_prompt, reply_log_likelihoods
from kblam.knowledge import Triple
from kblam.model import KBLaM

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "evaluation"
SCRIPT = ROOT / "benchmarks" / "likelihood.py"
FACT = Triple("Saturn", "largest moon", "Titan")
REPLIES = ["Titan", "The largest moon of Saturn is Titan.", "", "It is Titan, of course, Titan."]


@torch.no_grad()
def plainly(model: KBLaM, prompt: list[dict[str, str]], reply: str) -> float:
    """One token after the other, each by a forward pass of its own."""
    tokenizer, base = model.tokenizer, model.base
    prefix = tokenize(tokenizer, as_messages(prompt))
    text = reply if tokenizer.chat_template else " " + reply
    rest = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    found = []
    for place, token in enumerate(rest):
        logits = base(input_ids=torch.tensor([prefix + rest[:place]])).logits[0, -1]
        found.append(float(logits.log_softmax(-1)[token]))
    return sum(found) / len(found)


def prompts() -> list[list[dict[str, str]]]:
    questions = ["Which moon of Saturn is the largest?", "Who?", "Saturn's?", "Name it, please."]
    return [gold_prompt(question, [FACT], refusal="No.") for question in questions]


def check(model: KBLaM) -> None:
    expected = [plainly(model, *pair) for pair in zip(prompts(), REPLIES, strict=True)]
    for batch_size in (1, 3, 8):
        found = reply_log_likelihoods(model, prompts(), REPLIES, batch_size=batch_size)
        assert found == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 4) for value in expected}) == len(REPLIES)


def test_a_padded_batch_gives_what_a_plain_loop_gives(words_model: KBLaM) -> None:
    check(words_model.with_options().detach())


@pytest.mark.weights
def test_so_does_one_with_a_chat_template(model: KBLaM) -> None:
    check(model)


def test_attached_facts_are_not_read(words_model: KBLaM) -> None:
    alone = reply_log_likelihoods(words_model.with_options().detach(), prompts(), REPLIES)
    attached = words_model.with_options().attach([("Saturn", "largest moon", "Rhea")])
    assert reply_log_likelihoods(attached, prompts(), REPLIES) == alone


@pytest.mark.weights
def test_a_sentence_reads_better_than_a_stutter(real_model: KBLaM) -> None:
    prompt = gold_prompt("Which moon of Saturn is the largest?", [FACT], refusal="No.")
    replies = ["The largest moon of Saturn is Titan.", "Titan moon the Titan largest is Saturn."]
    good, bad = reply_log_likelihoods(real_model, [prompt] * 2, replies)
    assert bad + 1.0 < good < 0.0


def test_what_does_not_fit_is_refused(words_model: KBLaM) -> None:
    with pytest.raises(PromptTooLongError, match="at most 1024 tokens together"):
        reply_log_likelihoods(words_model, prompts()[:1], ["word " * 1000])


def test_the_comparison_by_hand() -> None:
    figures = compare_likelihoods(
        {"kblam": {1: -1.0, 2: -2.0, 5: -0.6}, "rag": {2: -1.0, 5: -0.5, 9: -9.0}}, bootstrap=100
    )
    assert figures["methods"]["kblam"]["num_replies"] == 3
    assert figures["methods"]["kblam"]["log_likelihood"] == pytest.approx(-1.2)
    assert figures["methods"]["rag"]["log_likelihood"] == pytest.approx(-3.5)
    both = figures["both"]
    assert both["num_questions"] == 2
    assert both["log_likelihood"] == pytest.approx({"kblam": -1.3, "rag": -0.75})
    assert both["difference"] == pytest.approx(-0.55)
    low, high = both["interval"]
    assert low == pytest.approx(-1.0)
    assert high == pytest.approx(-0.1)
    nothing = compare_likelihoods({"kblam": {}, "rag": {1: -1.0}}, bootstrap=0)
    assert nothing["methods"]["kblam"]["log_likelihood"] is nothing["both"]["difference"] is None
    assert nothing["methods"]["rag"]["interval"] is None


def write_records(model: KBLaM, method: Any, path: Path, right: int) -> None:
    """Records of a model that says nothing sensible, some of them mended."""
    config = EvaluationConfig(
        facts=DATA / "facts.jsonl",
        questions=DATA / "questions.jsonl",
        method=method,
        max_new_tokens=1,
        resume=path,
    )
    evaluate(config, model=model, progress=False)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for record in lines[1 : 1 + right]:
        record |= {"contains": True, "reply": f"It is {record['answers'][0]}."}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_the_script_compares_two_files(
    words_model: KBLaM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(SCRIPT))
    paths = [tmp_path / "kblam.jsonl", tmp_path / "rag.jsonl"]
    for path, right in zip(paths, (4, 3), strict=True):
        write_records(words_model, path.stem, path, right)
    base = words_model.model_name
    arguments = ["--records", *map(str, paths), "--facts", str(DATA / "facts.jsonl")]
    arguments += ["--base-model", base, "--bootstrap", "20", "--json", str(tmp_path / "o" / "l")]
    script["main"]([*arguments, "--questions", str(DATA / "questions.jsonl")])
    figures = json.loads((tmp_path / "o" / "l").read_text("utf-8"))
    assert figures["methods"]["kblam"]["num_replies"] == 4
    assert figures["both"]["num_questions"] == figures["methods"]["rag"]["num_replies"] == 3
    # The same replies were written into both.
    assert figures["both"]["difference"] == pytest.approx(0.0)
    assert [header["method"] for header in figures["settings"]] == ["kblam", "rag"]
    assert "difference, both right" in capsys.readouterr().out
    # What entity and property tell, the question's own words and the answer tell as well here.
    script["main"](arguments)
    assert json.loads((tmp_path / "o" / "l").read_text("utf-8"))["methods"] == figures["methods"]
    script["main"]([*arguments, "--limit", "2"])
    assert json.loads((tmp_path / "o" / "l").read_text("utf-8"))["num_questions"] == 2

    paths[1].write_text(paths[1].read_text("utf-8").replace('?"', '??"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="the same questions"):
        script["main"](arguments)
    with pytest.raises(ConfigError, match="no such file"):
        script["main"](["--records", "none", "none", "--facts", "none"])
