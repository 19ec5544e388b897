"""What models share, what tells them apart, and what settings may be written as."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from tiny_kblam import FACTS, Folders, WordEncoder, save_tiny

from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

QUESTION = "What is the office of Project Heron?"


class TestEncodedFacts:
    def test_models_over_one_store_hold_them_once(self, load, store: KnowledgeStore) -> None:
        one, two = load("copying").attach(store), load("rambling").attach(store)
        assert one.base is not two.base
        assert one._attached[0] is two._attached[0]
        assert one._attached[0].read() is two._attached[0].read()
        with KnowledgeStore.from_source(FACTS) as other:
            assert load("copying").attach(other)._attached[0] is not one._attached[0]

    def test_they_go_with_the_last_model(self, load, store: KnowledgeStore) -> None:
        one, two = load().attach(store), load().attach(store)
        held = weakref.ref(one._attached[0])
        one.detach()
        assert two._attached[0] is held()
        del two
        gc.collect()
        assert held() is None
        assert load("copying").attach(store).ask(QUESTION).text == "Ljubljana"

    def test_models_on_other_weights_may_read_them_at_once(
        self, load, store: KnowledgeStore
    ) -> None:
        models = [load("copying").attach(store), load("rambling").attach(store)]
        views = [store.view(entity=[name, str(i)]) for i in range(12) for name in ("Aurora",)]
        failed: list[BaseException] = []

        def read(model: KBLaM) -> None:
            try:
                for view in views * 4:
                    assert len(model._attached[0].seen_by([view]).shown[view]) == 2
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=read, args=(model,)) for model in models * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


def test_an_adapter_trained_again_has_another_fingerprint(
    folders: Folders, encoder: WordEncoder, tmp_path, load
) -> None:
    model = load()
    assert model.adapter_fingerprint == load().adapter_fingerprint
    assert KBLaM.from_pretrained(folders.base, adapter=None).adapter_fingerprint is None
    # The same numbers in another folder are the same adapter, other settings another one.
    same = save_tiny(tmp_path / "same", encoder)
    other = save_tiny(tmp_path / "other", encoder, copies="after a colon")
    prints = [
        KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=encoder).adapter_fingerprint
        for pair in (same, other)
    ]
    assert prints[0] == model.adapter_fingerprint != prints[1]


class TestSharedWeights:
    """What one process loads twice is in memory once, unless it is something else by then."""

    def test_an_adapter_trained_again_into_its_folder_is_loaded_again(
        self, encoder: WordEncoder, tmp_path
    ) -> None:
        def load(copies: str) -> KBLaM:
            pair = save_tiny(tmp_path, encoder, copies=copies)
            return KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=encoder)

        one, two = load("never"), load("after a colon")
        assert one.adapter_fingerprint != two.adapter_fingerprint
        assert two.attach(FACTS).ask(QUESTION).text == "Ljubljana"

    def test_one_path_means_other_folders_elsewhere(
        self, encoder: WordEncoder, tmp_path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = []
        for copies in ("never", "after a colon"):
            save_tiny(tmp_path / copies, encoder, copies=copies)
            monkeypatch.chdir(tmp_path / copies)
            models += [
                KBLaM.from_pretrained("base", adapter=path, encoder=encoder)
                for path in ("adapter", tmp_path / copies / "adapter")
            ]
        assert [model.base is models[0].base for model in models] == [True, True, False, False]
        assert models[2].base is models[3].base
        assert models[3].attach(FACTS).ask(QUESTION).text == "Ljubljana"


class TestNumberFormat:
    @pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", torch.bfloat16])
    def test_may_be_a_name(self, folders: Folders, dtype) -> None:
        model = KBLaM.from_pretrained(folders.base, adapter=None, dtype=dtype)
        assert model.base.dtype == torch.bfloat16

    @pytest.mark.parametrize("dtype", ["half a float", "int8", "nn", 16, "auto"])
    def test_must_be_one_of_weights(self, folders: Folders, dtype) -> None:
        with pytest.raises(ConfigError, match="number format such as 'bfloat16'"):
            KBLaM.from_pretrained(folders.base, adapter=None, dtype=dtype)


class TestCounting:
    ASSISTANT = {"role": "assistant", "content": "Good morning."}
    USER = {"role": "user", "content": "Who leads Aurora?"}
    SYSTEM = {"role": "system", "content": "Be brief."}

    def test_parts_of_a_conversation_count(self, rambling: KBLaM) -> None:
        counts = [
            rambling.count_tokens(turns)
            for turns in ([], [self.SYSTEM], [self.SYSTEM, self.ASSISTANT])
        ]
        assert counts[0] == 0
        assert counts == sorted(set(counts))
        assert rambling.count_tokens("") > 0

    def test_templates_that_insist_on_a_question_are_left_out(
        self, rambling: KBLaM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        template = (
            "{% for m in messages if m.role == 'user' %}{% set ns = 1 %}{{ m.content }}"
            "{% else %}{{ raise_exception('No user query found in messages.') }}{% endfor %}"
        )
        monkeypatch.setattr(rambling.tokenizer, "chat_template", template)
        asked = rambling.count_tokens([self.USER])
        assert asked == len(rambling.tokenizer.encode("Who leads Aurora?"))
        one, two = (rambling.count_tokens([self.ASSISTANT] * n) for n in (1, 2))
        assert 0 < one < two

    def test_malformed_messages_are_an_error(self, rambling: KBLaM) -> None:
        with pytest.raises(ConfigError, match="'role'"):
            rambling.count_tokens([{"role": "parrot", "content": "42"}])
