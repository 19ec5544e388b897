"""Files of records: whatever a reply holds, they are read as they were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kblam.evaluation.preservation_result import PreservationRecord
from kblam.evaluation.record_file import RecordFile, read_records

SETTINGS = {"limit": 2}
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
