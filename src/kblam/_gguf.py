"""GGUF weights, converted once: opening them takes transformers half a minute, each time anew.

Nearly all of it goes into the vocabulary, which its reader walks entry by entry, three times
over. Converting walks it once; the same weights as safetensors open in a second.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import gguf
import torch
import transformers
from huggingface_hub.constants import HF_HOME
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from kblam._quiet import quiet_loading

__all__ = ["converted"]

_log = logging.getLogger(__name__)

# Of a larger file the tensors take longer than the vocabulary, and the copy too much room.
_LARGEST = 512 * 1024**2  # bytes


def converted(file: Path) -> Path | None:
    """Return a folder with the same weights as safetensors, in float32, and their tokenizer.

    The first call writes it into the folder that ``KBLAM_CACHE`` names, else into ``kblam`` in
    Hugging Face's own cache (``HF_HOME``): four bytes a parameter, 540 MB for the default model.
    It is found by what the file holds, wherever that lies. ``KBLAM_CACHE=""`` keeps none.

    Returns:
        The folder, or None where there is none: the file is large, or the copy cannot be kept.
    """
    cache = os.environ.get("KBLAM_CACHE", f"{HF_HOME}/kblam")
    if not cache or file.stat().st_size > _LARGEST:
        return None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    # Another version may read the same file otherwise.
    folder = Path(cache).expanduser() / f"{digest[:32]}-transformers-{transformers.__version__}"
    if not folder.is_dir():
        try:
            _convert(file, folder)
        except OSError as error:
            # No room, or no right to write: the file itself can still be opened.
            _log.warning(
                "Kept no copy of the weights in %s (%s): each start reads %s anew, which takes "
                "half a minute. KBLAM_CACHE names another folder.",
                cache,
                error,
                file.name,
            )
            return None
    return folder


def _convert(file: Path, folder: Path) -> None:
    """Write the folder as a whole or not at all; another process may be at it too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as temporary,
        tqdm(total=3, desc="Converting the weights, once", unit=" parts") as bar,
        quiet_loading(),
        _read_once(),
    ):
        fresh = Path(temporary) / "model"
        source, name = str(file.parent), file.name
        AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(fresh)
        bar.update()
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
        bar.update()
        if quantizer := getattr(model, "hf_quantizer", None):
            # What it has read are ordinary weights, which it would not let be written.
            quantizer.remove_quantization_config(model)
        model.save_pretrained(fresh)
        bar.update()
        for written in fresh.iterdir():
            with written.open("rb") as opened:
                os.fsync(opened.fileno())
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # else the other process was first
                raise


@contextmanager
def _read_once() -> Iterator[None]:
    """Keep what transformers makes anew for each thing that it asks of a file.

    For the tokenizer, the settings and the weights it walks the vocabulary each time, and for
    every module of the model it writes the same table of names.
    """
    made = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, make in made.items():
        setattr(gguf, name, cache(make))
    try:
        yield
    finally:
        for name, make in made.items():
            setattr(gguf, name, make)
