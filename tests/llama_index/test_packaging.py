"""What the package tells LlamaIndex's registry, and exports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from kblam_integrations import llama_index


def test_the_registry_is_told_of_every_exported_class() -> None:
    tomllib = pytest.importorskip("tomllib")
    file = Path(__file__).parents[2] / "pyproject.toml"
    told = tomllib.loads(file.read_text("utf-8"))["tool"]["llamahub"]
    assert import_module(told["import_path"]) is llama_index
    assert sorted(told["class_authors"]) == llama_index.__all__
    assert told["contains_example"]


def test_exported_names() -> None:
    assert llama_index.__all__ == [
        "KBLaMChatEngine",
        "KBLaMLLM",
        "KBLaMQueryEngine",
        "KBLaMRetriever",
    ]
    for name in llama_index.__all__:
        assert getattr(llama_index, name).__name__ == name
        assert getattr(llama_index, name).__doc__
