"""Which of the tools that a model was offered a question is about, if any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kblam.encoding import guessed_without_name
from kblam.errors import ConfigError
from kblam.knowledge import TextEmbedder
from kblam.tools import Tool, tool_names

__all__ = ["ToolFit"]

# Where the words of a tool's name meet: find_salary, find-salary, FindSalary.
_BETWEEN_WORDS = re.compile(r"[_.\-]+|(?<=[a-z0-9])(?=[A-Z])")
# From which likeness on a tool fits, by the encoder that tells it. A number of one encoder means
# nothing to another: benchmarks/fitting_tools.py finds it, and tells how often it is wrong.
_MEASURED = {"all-MiniLM-L6-v2": 0.25}


@dataclass(frozen=True)
class ToolFit:
    """Holds a question against what tools are called and say of themselves.

    Attributes:
        encoder: The model's.
        threshold: How like its question a tool must be, a cosine; None takes what was measured
            for the encoder, and lets every tool fit where nothing was.

    Raises:
        ConfigError: The threshold is no cosine.
    """

    encoder: Callable[[], TextEmbedder]
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1.0 <= self.threshold <= 1.0:
            raise ConfigError(
                f"Expected a tool_threshold from -1 to 1, got {self.threshold!r}. Leave it out "
                "for the one that was measured, or set -1 to have a tool called whenever the "
                "facts do not answer."
            )

    def nearest(self, question: str, tools: Sequence[Tool]) -> Tool:
        """The tool that a question is about more than about the others."""
        if len(tools) == 1:
            return tools[0]
        return tools[int(self.likeness(question, tools).argmax())]

    def fitting(self, question: str, tools: Sequence[Tool]) -> list[Tool]:
        """The tools that a question is about, the nearest first."""
        likeness = self.likeness(question, tools)
        ranked = np.argsort(-likeness, kind="stable")
        return [tools[place] for place in ranked if likeness[place] >= self._least]

    @property
    def lets_all_fit(self) -> bool:
        """Whether every tool fits every question."""
        return self._least == -1.0

    @property
    def _least(self) -> float:
        if self.threshold is not None:
            return self.threshold
        return _MEASURED.get(self.encoder().name, -1.0)

    def likeness(self, question: str, tools: Sequence[Tool]) -> np.ndarray:
        """How like a question each tool is, a cosine, (tools,)."""
        # Half of it without the name: a tool that pages doctors is not for whatever is asked of
        # one, and whom or what it is asked about says little of which tool it is for.
        asked = [question, guessed_without_name(question) or question]
        vectors = np.asarray(self.encoder().encode([*asked, *map(_about, tools)]), np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        likeness: np.ndarray = vectors[2:] @ vectors[:2].mean(0)
        return likeness.clip(-1.0, 1.0)


def _about(tool: Tool) -> str:
    """What a tool is for, in a few words: its name, and how its description begins."""
    (name,) = tool_names([tool])
    lines = str(tool["function"].get("description") or "").strip().splitlines()
    # LlamaIndex begins it with the signature, which says what the arguments are.
    if len(lines) > 1 and lines[0].startswith(f"{name}("):
        lines = lines[1:]
    # What follows the first paragraph is how it is called, and what comes back.
    begins = "\n".join(lines).strip().split("\n\n")[0]
    return f"{_BETWEEN_WORDS.sub(' ', name).strip()}: {' '.join(begins.split())}"
