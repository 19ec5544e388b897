from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from kblam.encoding import SentenceEncoder
from kblam.weights import DEFAULT_ENCODER

pytestmark = pytest.mark.weights

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attention_cost.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_measures_each_number_of_facts(
    script: dict[str, Any], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "cost.json"
    arguments = ["--num-facts", "20", "300", "--json", str(out), "--repeats", "2"]
    arguments += ["--base-model", str(tiny.base), "--adapter", str(tiny.adapter)]
    script["main"]([*arguments, "--new-tokens", "5"])
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert [result["num_facts"] for result in figures["results"]] == [20, 300]
    assert figures["base"]["seconds_to_first_token"] > 0
    for result in figures["results"]:
        assert result["seconds_to_first_token"] > 0
        assert result["seconds_per_new_token"] > 0
        assert result["first_token_ratio"] == pytest.approx(
            result["seconds_to_first_token"] / result["base_seconds_to_first_token"]
        )
        # At least two half-precision vectors of 384 numbers.
        assert result["bytes_per_fact"] >= 2 * 384 * 2
    assert "300 facts: first token" in capsys.readouterr().out


def test_real_texts_get_real_vectors(script: dict[str, Any]) -> None:
    vectors = script["RandomFactVectors"](DEFAULT_ENCODER)
    assert vectors.encode(["Who?"]) == pytest.approx(SentenceEncoder().encode(["Who?"]), abs=1e-6)
    made_up = vectors.encode(["benchmark item 1", "benchmark item 2"])
    assert made_up.shape == (2, 384)
    assert (made_up**2).sum(1) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [["--num-facts", "0"], ["--repeats", "0"], ["--new-tokens", "1"]])
def test_wrong_numbers_are_refused(script: dict[str, Any], wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        script["parse"](wrong)
