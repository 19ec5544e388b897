"""There are at least a thousand malformed inputs, and each kind is judged."""

from __future__ import annotations

import re
from pathlib import Path

from malformed import PLANNED


def test_a_thousand_inputs_are_judged() -> None:
    assert sum(PLANNED.values()) >= 1_000
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    judged = re.findall(r'judge\(\s*"([^"]+)"', texts)
    assert sorted(judged) == sorted(PLANNED)
