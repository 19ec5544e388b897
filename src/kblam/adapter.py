"""Adapters on disk, in PEFT's conventions: ``adapter_config.json`` and safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from kblam.config import KnowledgeConfig
from kblam.decoder.attach import check_fit
from kblam.decoder.layout import AttentionLayout, attention_layout
from kblam.decoder.modules import KnowledgeAdapter
from kblam.encoding.adapters import LinearAdapter
from kblam.errors import AdapterError, AdapterMismatchError

__all__ = [
    "DEFAULT_ADAPTER",
    "from_pretrained",
    "identity",
    "resolve_adapter",
    "save_pretrained",
    "start_from",
]

DEFAULT_ADAPTER = "smollm2-135m-minilm"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_BUNDLED = Path(__file__).parent / "bundled"
_FORMAT = 1
_READER_LAYER = re.compile(r"^(reader\.layers\.)(\d+)")
# Numbers that adapters of the first releases lack and that do nothing until they are trained.
_NEUTRAL = ("match.excess_", "refusal.judged")
# And those without which an adapter does less.
_ADDED = (
    *_NEUTRAL, "reader.", "pointer.part_", "pointer.named_bonus", "pointer.verb_",
    "pointer.coverage",
)  # fmt: skip


def save_pretrained(
    adapter: KnowledgeAdapter,
    directory: str | Path,
    model: PreTrainedModel,
    *,
    base_model: str,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Write an adapter.

    Args:
        adapter: The trained parts.
        directory: Made if need be.
        model: The base model, whose shape is noted so that another one is refused.
        base_model: Its name.
        dtype: Of the numbers written; single scalars stay in float32.

    Returns:
        The directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.dim() else torch.float32).contiguous()
        for name, tensor in adapter.state_dict().items()
    }
    save_file(tensors, directory / _WEIGHTS, metadata={"format": "pt"})
    config = {
        "peft_type": "KBLAM",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": base_model,
        "base_model_shape": _shape(model),
        "format": _FORMAT,
        "knowledge": adapter.config.to_dict(),
    }
    (directory / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return directory


def resolve_adapter(name: str | Path) -> Path:
    """Find an adapter: a folder, the name of a bundled one, or a name on the hub.

    Raises:
        AdapterError: Naming the places looked at.
    """
    if str(name) == "default":
        # Whatever folder of that name lies in the working directory.
        return _BUNDLED / DEFAULT_ADAPTER
    path = Path(name).expanduser()
    for folder in (path, _BUNDLED / str(name)):
        if (folder / _CONFIG).is_file():
            return folder
    if str(name).count("/") == 1 and not path.exists():
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(str(name), allow_patterns=[_CONFIG, _WEIGHTS]))
        except (OSError, ValueError):
            pass  # Unreachable or unknown: the error below names every place.
    bundled = sorted(p.name for p in _BUNDLED.glob("*") if (p / _CONFIG).is_file())
    raise AdapterError(
        f"Expected an adapter under {str(name)!r}, found none. Looked at (1) the folder "
        f"{str(path)!r} for {_CONFIG}, (2) the bundled adapters {bundled}, (3) the Hugging Face "
        "hub. Train one with: kblam train"
    )


def identity(name: str | Path) -> tuple[object, ...]:
    """What tells an adapter from others, and from what was in its folder before.

    Raises:
        AdapterError: It is not to be found.
    """
    folder = resolve_adapter(name).resolve()
    files = [folder / file for file in (_CONFIG, _WEIGHTS) if (folder / file).is_file()]
    return (folder, *((file.stat().st_mtime_ns, file.stat().st_size) for file in files))


def read_config(directory: Path) -> tuple[KnowledgeConfig, dict[str, Any]]:
    """An adapter's configuration, and the whole of its file.

    Raises:
        AdapterError: The file is damaged, or of a newer format.
    """
    try:
        data = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        config = KnowledgeConfig.from_dict(data["knowledge"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AdapterError(
            f"Expected an adapter's configuration in {directory / _CONFIG}, could not read it: "
            f"{type(error).__name__}: {error!s:.500}. Copy or train the adapter again."
        ) from error
    if data.get("format") != _FORMAT:
        raise AdapterError(
            f"Expected an adapter of format {_FORMAT}, got {data.get('format')!r} in {directory}. "
            "Update kblam."
        )
    return config, data


def from_pretrained(name: str | Path, model: PreTrainedModel) -> KnowledgeAdapter:
    """Read an adapter for a base model.

    Args:
        name: A folder, a bundled adapter's name, or a name on the hub.
        model: The base model that it is to be attached to.

    Raises:
        AdapterError: It is not to be found, or damaged.
        AdapterMismatchError: It was trained for another base model.
    """
    directory = resolve_adapter(name)
    config, data = read_config(directory)
    trained_for, given = data.get("base_model_shape"), _shape(model)
    if trained_for != given:
        raise AdapterMismatchError(
            f"The adapter {str(name)!r} was trained for {data.get('base_model_name_or_path')!r} "
            f"with the shape {trained_for}, the base model given has {given}. Give that base "
            "model, or train an adapter for this one: kblam train --base-model ..."
        )
    layout = attention_layout(model)
    check_fit(config, layout)
    tensors = _read_weights(directory / _WEIGHTS)
    # Without memory at first: the sizes may be a damaged file's.
    with torch.device("meta"):
        found = _made(config, layout, tensors, directory)
    _check_weights(found, tensors, directory)
    adapter = _made(config, layout, tensors, directory)
    adapter.load_state_dict(
        {**_of(adapter, _NEUTRAL), **{key: value.float() for key, value in tensors.items()}}
    )
    return adapter.requires_grad_(False).eval().to(model.device)


def _of(adapter: KnowledgeAdapter, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """An adapter's numbers whose names begin so."""
    return {key: value for key, value in adapter.state_dict().items() if key.startswith(names)}


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise AdapterError(
            f"Expected an adapter's weights in {path}, could not read them: {error!s:.500}. Copy "
            "or train the adapter again."
        ) from error


def _made(
    config: KnowledgeConfig,
    layout: AttentionLayout,
    tensors: dict[str, torch.Tensor],
    directory: Path,
) -> KnowledgeAdapter:
    """Make an adapter of the shape that its files tell of."""
    try:
        adapter = KnowledgeAdapter(config, layout)
        spare = tensors.get("spare_key.weight")
        if spare is not None and spare.dim() == 2 and spare.shape[0] % config.head_dim == 0:
            heads = spare.shape[0] // config.head_dim
            adapter.spare_key = LinearAdapter(
                config.encoder_dimension, heads, config.head_dim, std=0.0
            )
    except (RuntimeError, OverflowError, TypeError) as error:
        raise AdapterError(
            f"No adapter has the shape that {directory / _CONFIG} tells of: {error!s:.500}. Copy "
            "or train the adapter again."
        ) from error
    return adapter


def _check_weights(
    adapter: KnowledgeAdapter, tensors: dict[str, torch.Tensor], directory: Path
) -> None:
    """Refuse weights that are not an adapter's."""
    expected = {
        key: tuple(value.shape)
        for key, value in adapter.state_dict().items()
        if key in tensors or not key.startswith(_NEUTRAL)
    }
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[:4]
        raise AdapterError(
            f"The weights in {directory / _WEIGHTS} do not fit their configuration, among others "
            f"{wrong!s:.500}. Copy or train the adapter again."
        )
    for key, value in tensors.items():
        if not value.is_floating_point() or not value.float().isfinite().all():
            raise AdapterError(
                f"The weights in {directory / _WEIGHTS} are damaged: expected finite numbers in "
                f"{key}, got others ({value.dtype}). Copy or train the adapter again."
            )


def start_from(
    adapter: KnowledgeAdapter, names: Sequence[str | Path], model: PreTrainedModel
) -> None:
    """Give an untrained adapter the numbers of trained ones of its shape: their mean.

    Adapters trained from the same start lie close enough together that the mean of their weights is
    an adapter too, and mostly a steadier one than each (Wortsman et al., Model soups, ICML 2022).

    Args:
        adapter: Changed in place.
        names: At least one folder, bundled adapter's name, or name on the hub.
        model: The base model of all.

    Raises:
        AdapterError: There is no such adapter, it is damaged, or of another shape.
        AdapterMismatchError: It was trained for another base model.
    """
    start = KnowledgeAdapter(adapter.config, attention_layout(model))
    mean = {key: torch.zeros_like(value) for key, value in adapter.state_dict().items()}
    for name in names:
        _load(start, adapter, name, model)
        for key, value in start.state_dict().items():
            mean[key] += value.to(mean[key].device) / len(names)
    adapter.load_state_dict(mean)


def _load(
    start: KnowledgeAdapter, untrained: KnowledgeAdapter, name: str | Path, model: PreTrainedModel
) -> None:
    """Make one adapter a trained one; what that lacks is an untrained one's."""
    trained = from_pretrained(name, model)
    if trained.config.encoder != start.config.encoder:
        raise AdapterMismatchError(
            f"Expected an adapter for the encoder {start.config.encoder!r} to start from, "
            f"{str(name)!r} is for {trained.config.encoder!r}. Give that encoder."
        )
    # What an adapter from before did not copy or look at, it learns from nothing.
    try:
        start.load_state_dict({**_of(untrained, _ADDED), **_with_last_layers(trained, start)})
    except RuntimeError as error:
        raise AdapterError(
            f"Expected an adapter of the same shape to start from, {str(name)!r} differs: "
            f"{error}. Train with its settings, or from nothing."
        ) from error


def _with_last_layers(
    trained: KnowledgeAdapter, wanted: KnowledgeAdapter
) -> dict[str, torch.Tensor]:
    """A trained adapter's numbers; layers to read with count from the last, as the encoder's do."""
    more = _reader_layers(wanted) - _reader_layers(trained)

    def name(key: str) -> str:
        return _READER_LAYER.sub(lambda layer: f"{layer[1]}{int(layer[2]) + more}", key)

    return {name(key): value for key, value in trained.state_dict().items()}


def _reader_layers(adapter: KnowledgeAdapter) -> int:
    return len(adapter.reader.layers) if adapter.reader is not None else 0


def _shape(model: PreTrainedModel) -> dict[str, Any]:
    config = model.config.get_text_config(decoder=True)
    return {
        "model_type": config.model_type,
        "hidden_size": int(config.hidden_size),
        "num_hidden_layers": int(config.num_hidden_layers),
        "num_attention_heads": int(config.num_attention_heads),
        "vocab_size": int(config.vocab_size),
    }
