"""Files of records: whatever a reply holds, they are read as they were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import ConfigError, SourceError
from kblam.evaluation import (
    EvaluationConfig,
    PreservationConfig,
    evaluate,
    evaluate_attention,
    evaluate_preservation,
)
from kblam.evaluation.preservation_result import PreservationRecord
from kblam.evaluation.record_file import RecordFile, read_records
from kblam.knowledge import Triple
from kblam.model import KBLaM

SETTINGS = {"limit": 2}
DEEP = b"[" * 100_000 + b"\n"
RECORD = PreservationRecord(
    index=0,
    kind="chat",
    messages=({"role": "user", "content": "Hello"},),
    tokens=3,
    divergence=0.5,
    common=3,
    refused=False,
    base_reply="Hi",
    reply="Hi",
    lost=0.0,
)


def opened(path: Path) -> RecordFile[PreservationRecord]:
    return RecordFile(path, SETTINGS, PreservationRecord.from_dict)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x1c", "\r", "\r\n", "\n"])
def test_a_reply_may_hold_any_end_of_a_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "records.jsonl"
    records = [replace(RECORD, reply=f"One{end}two{end}"), replace(RECORD, index=1)]
    with opened(path) as file:
        for record in records:
            file.add(record)
    assert list(opened(path).records.values()) == records
    assert read_records(path, PreservationRecord.from_dict) == (SETTINGS, records)


def test_a_line_that_a_kill_left_unfinished_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with opened(path) as file:
        file.add(replace(RECORD, reply="\u2028"))
        file.add(replace(RECORD, index=1))
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-20], encoding="utf-8")
    assert list(opened(path).records) == [0]


def test_a_line_that_ends_within_a_letter_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with opened(path) as file:
        file.add(RECORD)
        file.add(replace(RECORD, index=1, kind="ö"))
    written = path.read_bytes()
    path.write_bytes(written[: written.index("ö".encode()) + 1])
    assert list(opened(path).records) == [0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"settings": "a"}\n', "begin with the settings"),
        (b'["settings"]\n', "begin with the settings"),
        (DEEP, "begin with the settings"),
        (b'{"settings": ' + b"1" * 5_000 + b"}\n", "begin with the settings"),
        (b'{"settings": {"limit": 2}}\n' + DEEP, "records of this version"),
        (b'{"settings": {"limit": 2}}\n' + b"1" * 5_000 + b"\n", "records of this version"),
        (b'{"settings": {"limit": "\xe4"}}\n', "to be UTF-8"),
    ],
    ids=["text", "list", "deep", "digits", "deep record", "digits in a record", "latin-1"],
)
def test_what_is_no_file_of_records_is_said_to_be_none(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    with pytest.raises((ConfigError, SourceError), match=complaint):
        opened(path)


Measure = Callable[[KBLaM, Path, Path, Path], Any]


def of_questions(model: KBLaM, facts: Path, questions: Path, resume: Path) -> Any:
    config = EvaluationConfig(
        facts=facts, questions=questions, resume=resume, max_new_tokens=1, bootstrap=0
    )
    return evaluate(config, model=model, progress=False)


def of_attention(model: KBLaM, facts: Path, questions: Path, resume: Path) -> Any:
    config = EvaluationConfig(facts=facts, questions=questions, resume=resume, bootstrap=0)
    return evaluate_attention(config, model=model, progress=False)


def of_preservation(model: KBLaM, facts: Path, questions: Path, resume: Path) -> Any:
    config = PreservationConfig(
        facts=facts, prompts=questions, resume=resume, max_new_tokens=1, bootstrap=0
    )
    return evaluate_preservation(config, model=model, progress=False)


def written(path: Path, **changes: Any) -> Path:
    """One line that can be a fact, a question and a prompt."""
    row: dict[str, Any] = {"entity": "Iron", "property": "symbol", "value": "Fe"}
    row |= {"question": "Symbol of iron?", "answers": ["Fe"]}
    row |= {"kind": "chat", "messages": [{"role": "user", "content": "Hello"}]} | changes
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("measure", [of_questions, of_attention, of_preservation])
def test_what_came_of_other_facts_or_another_adapter_is_not_mixed(
    words_model: KBLaM, make_words_model: Callable[..., KBLaM], tmp_path: Path, measure: Measure
) -> None:
    facts, questions = written(tmp_path / "f.jsonl"), written(tmp_path / "q.jsonl")
    rest = questions, tmp_path / "resume.jsonl"
    measure(words_model, facts, *rest)
    with pytest.raises(ConfigError, match="settings differ: adapter_fingerprint"):
        measure(make_words_model("after a colon"), facts, *rest)
    written(facts, value="Au")
    with pytest.raises(ConfigError, match="settings differ: facts"):
        measure(words_model, facts, *rest)
    measure(words_model, written(tmp_path / "elsewhere" / "f.jsonl"), *rest)


@pytest.mark.parametrize("change", [{"entity": "Gold"}, {"property": "name"}, {"answers": ["Au"]}])
@pytest.mark.parametrize("measure", [of_questions, of_attention])
def test_a_question_about_something_else_is_another_one(
    words_model: KBLaM, tmp_path: Path, measure: Measure, change: dict[str, Any]
) -> None:
    facts, questions = tmp_path / "f.jsonl", written(tmp_path / "q.jsonl")
    rows = [Triple("Iron", "symbol", "Fe"), Triple("Gold", "name", "Au")]
    rows += [
        Triple("Gold", "symbol", "Fe"),
        Triple("Iron", "name", "Fe"),
        Triple("Iron", "symbol", "Au"),
    ]
    facts.write_text("\n".join(json.dumps(row.to_dict()) for row in rows), encoding="utf-8")
    measure(words_model, facts, questions, tmp_path / "resume.jsonl")
    written(questions, **change)
    with pytest.raises(ConfigError, match="the same questions"):
        measure(words_model, facts, questions, tmp_path / "resume.jsonl")
