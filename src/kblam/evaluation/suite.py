"""All methods at all sizes, and what facts do to other replies: run, continued, reported."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

from kblam._questions import file_content
from kblam.errors import ConfigError, require
from kblam.evaluation._loading import load_model
from kblam.evaluation.attention import evaluate_attention
from kblam.evaluation.config import PreservationConfig
from kblam.evaluation.plots import draw_suite
from kblam.evaluation.preservation import evaluate_preservation
from kblam.evaluation.record_file import differing
from kblam.evaluation.report import markdown
from kblam.evaluation.runner import evaluate
from kblam.evaluation.suite_plan import Cell, SuiteConfig, plan_suite
from kblam.model import KBLaM

__all__ = ["run_suite"]

_SETTINGS = "suite.json"
_ADAPTER = "adapter_fingerprint"


def run_suite(
    config: SuiteConfig, *, model: KBLaM | None = None, progress: bool = True
) -> dict[str, Any]:
    """Measure what is not measured yet, and write the report.

    The folder gets ``results.json``, ``results.md`` and the plots ``quality.png``,
    ``refusal.png`` and ``attention.png``. A run that was cut goes on at the question where it
    was; what is finished is read from ``cells/``.

    Args:
        config: What to measure.
        model: A model with an adapter that is loaded already; None loads the one that the
            settings name, without its adapter for the baselines.
        progress: Whether to show a progress bar per measurement on standard error.

    Returns:
        What ``results.json`` holds.

    Raises:
        ConfigError: A file or a setting cannot be used, or the folder holds another suite.
        MissingExtraError: `bm25` or the plots lack their library.
        WeightsNotFoundError: The base model or the encoder cannot be found.
        AdapterError: The adapter cannot be loaded.
        PromptTooLongError: A question is longer than the model's context.
        SourceError: A file cannot be read, or is not UTF-8.
    """
    # Before hours of work, not after.
    require("matplotlib", extra="plot")
    if "bm25" in config.methods:
        require("bm25s", extra="evaluate")
    plan = plan_suite(config)
    models = _Models(config, model)
    settings = _check_folder(config, models, informed=any(cell.informed for cell in plan))
    outcome: dict[str, Any] = {
        "settings": settings,
        "questions": [],
        "attention": [],
        "preservation": None,
    }
    for number, cell in enumerate(plan, start=1):
        path = config.output / "cells" / f"{cell.name}.json"
        if not path.is_file():
            title = f"{number}/{len(plan)} {cell.name}"
            model = models.get(informed=cell.informed)
            _write(path, _text(_measure(cell, model, title, progress=progress)))
        _file_under(outcome, cell, json.loads(path.read_text(encoding="utf-8")))
        # After each, so that a look at the report shows how far things are.
        _write(config.output / "results.json", _text(outcome))
        _write(config.output / "results.md", markdown(outcome))
    draw_suite(outcome, config.output)
    return outcome


def _file_under(outcome: dict[str, Any], cell: Cell, result: dict[str, Any]) -> None:
    if isinstance(cell.config, PreservationConfig):
        outcome["preservation"] = result
    elif cell.traced:
        outcome["attention"].append(result)
    else:
        outcome["questions"].append({"label": cell.label} | result)


def _measure(cell: Cell, model: KBLaM, title: str, *, progress: bool) -> dict[str, Any]:
    if isinstance(cell.config, PreservationConfig):
        return evaluate_preservation(
            cell.config, model=model, label=title, progress=progress
        ).to_dict()
    if cell.traced:
        return evaluate_attention(
            cell.config, num_questions=cell.traced, model=model, label=title, progress=progress
        )
    return evaluate(cell.config, model=model, label=title, progress=progress).to_dict()


class _Models:
    """Holds one model at a time: with its adapter, or bare for the baselines."""

    def __init__(self, config: SuiteConfig, given: KBLaM | None) -> None:
        self._config = config
        self._given = given
        self._held: tuple[bool, KBLaM] | None = None

    def get(self, *, informed: bool) -> KBLaM:
        """The model, loaded when first needed."""
        if self._given is not None:
            return self._given
        if self._held is None or self._held[0] != informed:
            self._held = None
            gc.collect()  # the other one's weights, before these are read
            self._held = informed, load_model(self._config, informed=informed)
        return self._held[1]


def _check_folder(config: SuiteConfig, models: _Models, *, informed: bool) -> dict[str, Any]:
    """Write what all figures in the folder depend on, or compare with what is there.

    The adapter is None while only baselines were measured, which do not depend on it.
    """
    values = config.for_replies() | {"questions": file_content(config.questions, "questions")}
    path = config.output / _SETTINGS
    held = values | {_ADAPTER: None}
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
    values[_ADAPTER] = held.get(_ADAPTER)
    _check_same(config, held, values)  # before a model is loaded, which may take minutes
    if informed:
        values[_ADAPTER] = models.get(informed=True).adapter_fingerprint
        if held.get(_ADAPTER) is not None:
            _check_same(config, held, values)
    _write(path, _text(values))
    return values


def _check_same(config: SuiteConfig, held: dict[str, Any], values: dict[str, Any]) -> None:
    changed = differing(held, values)
    if changed:
        raise ConfigError(
            f"Expected {config.output} to hold a part of the same suite, but these settings "
            f"differ: {', '.join(changed)}. Give another folder, or the settings it was "
            "begun with."
        )


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a file as a whole, so that a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
