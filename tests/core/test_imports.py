"""What an import brings along: facts need no PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kblam

_HEAVY = "('torch', 'transformers', 'sentence_transformers')"


@pytest.mark.parametrize(
    "statement",
    [
        "import kblam",
        "import kblam.knowledge",
        "from kblam import KnowledgeStore, Triple, Answer, GenerationOptions, KBLaMError",
        "from kblam_integrations.sources import as_store; as_store([('a', 'b', 'c')])",
        "import kblam; kblam.errors.FactError; kblam.config.RefusalConfig; dir(kblam)",
    ],
)
def test_facts_are_handled_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in {_HEAVY} if m in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert kblam.__all__ == sorted(kblam.__all__)
    assert set(kblam.__all__) <= set(dir(kblam))
    for name in kblam.__all__:
        value = getattr(kblam, name)
        assert value.__name__ == name
        assert getattr(kblam, name) is value
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        kblam.Nothing  # noqa: B018
