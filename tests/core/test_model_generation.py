"""Ways of generating: streams, stop strings, sampling, beams."""

from __future__ import annotations

import time

import pytest
import torch
from tiny_kblam import FACTS, make_tokenizer, save_tiny

from kblam._seeded import seeded
from kblam._stream import StreamClosed
from kblam.config import GenerationOptions
from kblam.decoder.watch import GenerationWatch
from kblam.model import KBLaM

PROMPTS = ["What is it?", "Where is Aurora, and why?", "Borealis"]


@pytest.fixture
def forwards(rambling: KBLaM):
    """How many forward passes the base model made."""
    calls = []
    hook = rambling.base.register_forward_hook(lambda *_: calls.append(time.monotonic()))
    yield calls
    hook.remove()


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=24),
        GenerationOptions(max_new_tokens=24, temperature=1.5, seed=3),
        GenerationOptions(max_new_tokens=12, num_beams=3),
    ],
    ids=["greedy", "sampled", "beams"],
)
def test_pieces_joined_are_the_answer(rambling: KBLaM, prompt: str, options) -> None:
    answer = rambling.ask(prompt, options)
    stream = rambling.stream(prompt, options)
    pieces = list(stream)
    assert "".join(pieces) == answer.text
    assert stream.answer.text == answer.text
    assert stream.answer.usage == answer.usage
    assert [f.fact for f in stream.answer.facts] == [f.fact for f in answer.facts]
    if options.num_beams == 1 and len(answer.text) > 8:
        assert len(pieces) > 1


def test_a_streamed_answer_has_its_citations(copying: KBLaM) -> None:
    stream = copying.stream("What is the office of Project Heron?")
    pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == "Ljubljana"
    (citation,) = stream.answer.citations
    assert (citation.fact.value, citation.start, citation.end) == ("Ljubljana", 0, 9)


def test_closing_a_stream_stops_the_generation(rambling: KBLaM, forwards: list[float]) -> None:
    options = GenerationOptions(max_new_tokens=150)
    with rambling.stream("What is it?", options) as stream:
        next(stream)
    closed = time.monotonic()
    # Waits until the weights are free again.
    after = rambling.ask("What is it?", GenerationOptions(max_new_tokens=1))
    assert after.usage.output_tokens == 1
    # The token under way, and the one asked for just now.
    assert len([at for at in forwards if at > closed]) <= 3
    assert len(forwards) < 100
    assert list(stream) == []
    with pytest.raises(RuntimeError, match="not finished"):
        _ = stream.answer


def _inside(text: str) -> str:
    """Two characters from the middle of a random text that are whole and no white space."""
    pairs = (text[i : i + 2] for i in range(len(text) // 2, len(text) - 1))
    return next(p for p in pairs if "\ufffd" not in p and not any(c.isspace() for c in p))


@pytest.mark.parametrize("beams", [1, 2])
def test_a_batch_may_be_cancelled(rambling: KBLaM, forwards: list[float], beams: int) -> None:
    options = GenerationOptions(max_new_tokens=150, num_beams=beams)
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 3

    answers = rambling.ask_batch(PROMPTS, options, cancelled=cancelled)
    assert [answer.usage.output_tokens for answer in answers] == [3] * 3
    assert [answer.finish_reason for answer in answers] == ["length"] * 3
    forwards.clear()
    with pytest.raises(StreamClosed):
        rambling.ask_batch(PROMPTS, options, cancelled=lambda: True)
    assert forwards == []


@pytest.mark.parametrize("prompt", PROMPTS)
def test_stop_strings_end_the_answer(rambling: KBLaM, prompt: str, forwards: list[float]) -> None:
    whole = rambling.ask(prompt, GenerationOptions(max_new_tokens=24))
    stop = _inside(whole.text)
    options = GenerationOptions(max_new_tokens=24, stop=("never this", stop))
    forwards.clear()
    answer = rambling.ask(prompt, options)
    assert stop not in answer.text
    assert answer.text == whole.text[: whole.text.index(stop)].rstrip()
    assert answer.finish_reason == "stop"
    assert len(forwards) < 24
    assert "".join(rambling.stream(prompt, options)) == answer.text


def test_in_a_batch_every_row_has_its_own_end(rambling: KBLaM) -> None:
    whole = [rambling.ask(prompt, GenerationOptions(max_new_tokens=24)) for prompt in PROMPTS]
    stop = _inside(whole[0].text)
    options = GenerationOptions(max_new_tokens=24, stop=(stop,))
    together = rambling.ask_batch(PROMPTS, options)
    assert [a.text for a in together] == [rambling.ask(p, options).text for p in PROMPTS]
    assert [a.finish_reason for a in together] == [
        rambling.ask(p, options).finish_reason for p in PROMPTS
    ]


def test_a_copied_value_cut_by_a_stop_string_is_not_cited(copying: KBLaM) -> None:
    question = "What is the project lead of Aurora?"
    answer = copying.ask(question, GenerationOptions(stop=(" Osei",)))
    assert (answer.text, answer.citations) == ("Mirela", ())


def test_sampling_is_repeatable_and_leaves_the_generator_alone(rambling: KBLaM) -> None:
    options = GenerationOptions(max_new_tokens=16, temperature=1.0, seed=4)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one = rambling.ask("What is it?", options).text
    assert torch.equal(torch.rand(3), expected)
    assert rambling.ask("What is it?", options).text == one
    others = {
        rambling.ask("What is it?", GenerationOptions(16, temperature=1.0, seed=seed)).text
        for seed in range(5, 9)
    }
    assert len(others) > 1


def test_a_seed_starts_no_other_device(rambling: KBLaM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generators of eight GPUs were saved and set for a model on the CPU."""

    def touched(*_: object) -> None:
        raise AssertionError("a GPU was touched")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    for name in ("get_rng_state", "set_rng_state", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, touched)
    assert rambling.ask("What is it?", GenerationOptions(4, temperature=1.0, seed=4)).text


def test_a_seed_holds_on_the_models_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.Generator().manual_seed(gpu) for gpu in range(3)]
    before = [gpu.get_state() for gpu in gpus]
    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda gpu: gpus[gpu.index].get_state())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, gpu: gpus[gpu.index].set_state(state)
    )
    with seeded(7, torch.device("cuda", 1)):
        drawn = torch.rand(3, generator=gpus[1])
        assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))
        assert torch.equal(drawn, torch.rand(3))
    for gpu, state in zip(gpus, before, strict=True):
        assert torch.equal(gpu.get_state(), state)


def test_the_first_token_is_timed_once_it_is_there() -> None:
    """A GPU is still at work when its tokens are handed out; whoever reads one waits for it."""

    class AtWork(torch.Tensor):
        def __int__(self) -> int:
            time.sleep(0.05)
            return 0

    watch = GenerationWatch(make_tokenizer(), 1)
    tokens = torch.zeros(1, 2, dtype=torch.long).as_subclass(AtWork)
    started = time.perf_counter()
    watch(tokens, None)
    assert watch.first_token_at - started >= 0.05
    first = watch.first_token_at
    watch(tokens, None)
    assert watch.first_token_at == first


def test_by_default_all_tokens_may_be_sampled(rambling: KBLaM) -> None:
    """A random decoder's next token is nearly uniform over some 300."""
    options = {"max_new_tokens": 1, "temperature": 1.0}
    several = [f"What is {n}?" for n in range(10)]

    def drawn(**more) -> set[tuple[str, str]]:
        return {
            (prompt, answer.text)
            for seed in range(16)
            for prompt, answer in zip(
                several,
                rambling.ask_batch(several, GenerationOptions(seed=seed, **options, **more)),
                strict=True,
            )
        }

    by_prompt = [p for p, _ in drawn(top_k=2)]
    assert max(by_prompt.count(p) for p in several) <= 2
    tokenizer = rambling.tokenizer
    assert len(tokenizer) > 250
    # 160 draws of the library's usual 50 likeliest tokens could not show so many.
    assert len({text for _, text in drawn()}) > 60


def test_a_single_beam_is_greedy(rambling: KBLaM) -> None:
    greedy = rambling.ask("What is it?", GenerationOptions(max_new_tokens=8))
    again = rambling.ask("What is it?", GenerationOptions(max_new_tokens=8, num_beams=1))
    assert again.text == greedy.text


def test_facts_change_what_is_said(rambling: KBLaM) -> None:
    """Otherwise nothing above would show that facts are read."""
    with_facts = rambling.ask("What is it?", GenerationOptions(max_new_tokens=12)).text
    assert with_facts != rambling.detach().ask("What is it?", GenerationOptions(12)).text
    assert rambling.attach(FACTS).ask("What is it?", GenerationOptions(12)).text == with_facts


@pytest.mark.parametrize("beams", [1, 2])
def test_a_long_prompt_takes_no_room_from_others(tmp_path, encoder, beams: int) -> None:
    folders = save_tiny(tmp_path, encoder, context=64)
    model = KBLaM.from_pretrained(folders.base, adapter=folders.adapter, encoder=encoder)
    prompts = ["Who?", "Where is Aurora, and why is it there?", "And who?"]
    options = GenerationOptions(max_new_tokens=20, num_beams=beams)
    assert 64 - 20 < model.count_tokens(prompts[1]) < 64
    for asked in (model, model.with_options().attach(FACTS)):
        together = asked.ask_batch(prompts, options)
        alone = [asked.ask(prompt, options) for prompt in prompts]
        assert [a.text for a in together] == [a.text for a in alone]
        assert [a.usage for a in together] == [a.usage for a in alone]
        assert [a.finish_reason for a in together] == ["length"] * 3
        written = [a.usage.output_tokens for a in together]
        assert written == [20, 64 - together[1].usage.input_tokens, 20]


@pytest.mark.parametrize(
    "own",
    [
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "bad_words_ids": [[40]]},
        {"num_return_sequences": 2, "num_beams": 2, "do_sample": True, "max_time": 1e-4},
        {"return_dict_in_generate": True, "stop_strings": ["a"], "cache_implementation": "static"},
    ],
)
def test_the_options_alone_say_how_to_generate(
    rambling: KBLaM, monkeypatch: pytest.MonkeyPatch, own: dict[str, object]
) -> None:
    options, alone = GenerationOptions(max_new_tokens=8), rambling.with_options().detach()
    expected = [model.ask("What is it?", options).text for model in (rambling, alone)]
    config = rambling.base.generation_config
    for name, value in own.items():
        monkeypatch.setattr(config, name, value)
    assert [model.ask("What is it?", options).text for model in (rambling, alone)] == expected
    assert rambling.base.generation_config is config
    with pytest.raises(RuntimeError, match="cancelled"):
        rambling.ask_batch(["What is it?"], options, cancelled=_fails_at_the_second_call())
    assert rambling.base.generation_config is config


def _fails_at_the_second_call():
    calls = []

    def cancelled() -> bool:
        calls.append(None)
        if len(calls) > 1:
            raise RuntimeError("cancelled")
        return False

    return cancelled
