"""Is the base model unharmed? General prompts with facts attached that they are not about."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from kblam._prompt import as_messages
from kblam._questions import load_facts, place
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam.evaluation._forcing import Follower, Recorder
from kblam.evaluation._generating import generating_with
from kblam.evaluation._loading import load_model
from kblam.evaluation._progress import bar
from kblam.evaluation.config import PreservationConfig
from kblam.evaluation.likelihood import reply_log_likelihoods
from kblam.evaluation.preservation_result import (
    GeneralPrompt,
    PreservationRecord,
    PreservationResult,
    summarise_preservation,
)
from kblam.evaluation.record_file import RecordFile
from kblam.evaluation.result import provenance
from kblam.knowledge import KnowledgeStore, Triple
from kblam.knowledge._json_lines import json_lines, parse_json
from kblam.knowledge.triple import is_text
from kblam.model import KBLaM

__all__ = ["evaluate_preservation", "load_prompts"]

_SHIPPED = "general_prompts.jsonl"
_FORM = '{"kind": "...", "messages": [{"role": "user", "content": "..."}]}'


def evaluate_preservation(
    config: PreservationConfig,
    *,
    model: KBLaM | None = None,
    progress: bool = True,
    label: str = "preservation",
) -> PreservationResult:
    """Compare a model with facts attached with the same model without, on general prompts.

    The base answers each prompt greedily. Its text is then forced on the model with facts, and
    at each token the distributions that the two offer are compared: those that a token is taken
    from, copying and refusing included.

    Args:
        config: The facts and settings.
        model: A model that is loaded already; None loads the one that the settings name. A store
            that is attached to it is neither read nor touched.
        progress: Whether to show a progress bar on standard error.
        label: What the bar is called.

    Returns:
        The figures, and the prompts one by one.

    Raises:
        ConfigError: A file or a setting cannot be used, or the model has no adapter.
        FactError: A line of the facts is not a fact.
        WeightsNotFoundError: The base model or the encoder cannot be found.
        AdapterError: The adapter cannot be loaded.
        SourceError: A file cannot be read, or is not UTF-8.
    """
    prompts, (facts, notes) = _some_prompts(config), _some_facts(config)
    file = RecordFile(config.resume, config.for_replies(), PreservationRecord.from_dict)
    base = (model or load_model(config)).with_options().detach()
    file.expect(adapter_fingerprint=base.adapter_fingerprint)
    started = time.perf_counter()
    with KnowledgeStore.from_source(facts) as store:
        store.encode(base.encoder)
        informed = base.with_options().attach(store)
        with file:
            _compare_all(base, informed, prompts, file, config, label, progress=progress)
    return summarise_preservation(
        [file.records[prompt.index] for prompt in prompts],
        config,
        num_facts=len(facts),
        adapter=base.adapter_name,
        encoder=base.encoder.name,
        seconds=time.perf_counter() - started,
        notes=notes,
        **provenance(base),
    )


def load_prompts(path: Path | None = None) -> list[GeneralPrompt]:
    """Read general prompts.

    Args:
        path: A JSONL file; None takes the 200 that kblam ships.

    Raises:
        ConfigError: The file is missing or empty, or a line is not a prompt.
        SourceError: The file cannot be read, or is not UTF-8.
    """
    if path is None:
        with resources.as_file(resources.files("kblam.evaluation") / _SHIPPED) as shipped:
            return load_prompts(shipped)
    if not path.is_file():
        raise ConfigError(f"Expected a JSONL file of prompts at {path}, but there is no such file.")
    prompts = [
        _parse(line, number - 1, place(path, number - 1)) for number, line in json_lines(path)
    ]
    if not prompts:
        raise ConfigError(f"Expected prompts in {path}, one a line like {_FORM}, but it is empty.")
    return prompts


def _parse(line: str, index: int, where: str) -> GeneralPrompt:
    try:
        row = parse_json(line)
        messages = as_messages(row["messages"])
        if not all(is_text(message["content"]) for message in messages):
            raise ValueError("NUL or half a surrogate pair is no text")
        return GeneralPrompt(index, str(row["kind"]), tuple(messages))
    except (KeyError, TypeError, ValueError) as error:  # a ConfigError is a ValueError
        raise ConfigError(
            f"Expected a prompt like {_FORM} in {where}, got {line!r:.200} ({error})."
        ) from error


def _some_prompts(config: PreservationConfig) -> list[GeneralPrompt]:
    prompts = load_prompts(config.prompts)
    if config.limit is None or config.limit >= len(prompts):
        return prompts
    # In the file's order, so that a larger sample goes through the same kinds.
    drawn = random.Random(config.seed).sample(range(len(prompts)), config.limit)
    return [prompts[i] for i in sorted(drawn)]


def _some_facts(config: PreservationConfig) -> tuple[list[Triple], tuple[str, ...]]:
    facts = load_facts(config.facts)
    if config.num_facts is None or config.num_facts == len(facts):
        return facts, ()
    if config.num_facts > len(facts):
        return facts, (f"{config.num_facts} facts were asked for; the file has {len(facts)}.",)
    return random.Random(config.seed).sample(facts, config.num_facts), ()


def _compare_all(
    base: KBLaM,
    informed: KBLaM,
    prompts: Sequence[GeneralPrompt],
    file: RecordFile[PreservationRecord],
    config: PreservationConfig,
    label: str,
    *,
    progress: bool,
) -> None:
    todo = [p for p in prompts if not file.has(p.index, p.messages)]
    # Prompts of like length together: less padding.
    todo.sort(key=lambda prompt: base.count_tokens(prompt.messages))
    options = GenerationOptions(max_new_tokens=config.max_new_tokens)
    with bar(label, len(prompts), len(todo), show=progress) as advance:
        for start in range(0, len(todo), config.batch_size):
            batch = todo[start : start + config.batch_size]
            for record in _compare(base, informed, batch, options):
                file.add(record)
                advance()


def _compare(
    base: KBLaM, informed: KBLaM, prompts: Sequence[GeneralPrompt], options: GenerationOptions
) -> list[PreservationRecord]:
    """Compare one batch of prompts."""
    messages = [prompt.messages for prompt in prompts]
    recorder = Recorder()
    with generating_with(base.base, processors=[recorder]):
        plain = base.ask_batch(messages, options)
    follower = Follower(recorder, [answer.usage.output_tokens for answer in plain])
    with generating_with(base.base, processors=[follower]):
        forced = informed.ask_batch(messages, options)
    records = []
    for row, prompt in enumerate(prompts):
        refused = forced[row].refused
        common = 0 if refused else _run_length(follower.agrees[row])
        reply = plain[row].text
        if refused:
            reply = informed.refusal
        elif common < len(follower.agrees[row]):
            # Somewhere it would have gone another way: which, a reader will want to know. Or a
            # refusal that it was about to write was taken back: then the reply is the base's.
            own = informed.ask(prompt.messages, options)
            refused, reply = own.refused, own.text
            if reply == plain[row].text:
                common = len(follower.agrees[row])
        records.append(
            PreservationRecord(
                index=prompt.index,
                kind=prompt.kind,
                messages=prompt.messages,
                tokens=len(follower.agrees[row]),
                divergence=sum(follower.divergence[row]),
                common=common,
                refused=refused,
                base_reply=plain[row].text,
                reply=reply,
                lost=0.0,  # see _judged
            )
        )
    return _judged(base, records)


def _judged(base: KBLaM, records: Sequence[PreservationRecord]) -> list[PreservationRecord]:
    """Let the base alone say what it makes of the replies that are not its own."""
    others = [record for record in records if record.differs]
    prompts = [list(record.messages) for record in others]
    scores = reply_log_likelihoods(
        base, prompts * 2, [r.base_reply for r in others] + [r.reply for r in others]
    )
    lost = {
        record.index: own - other
        for record, own, other in zip(
            others, scores[: len(others)], scores[len(others) :], strict=True
        )
    }
    return [replace(record, lost=lost.get(record.index, 0.0)) for record in records]


def _run_length(agrees: Sequence[bool]) -> int:
    """How many tokens agree before the first that does not."""
    return next((i for i, same in enumerate(agrees) if not same), len(agrees))
