"""LangChain's standard tests, on the default model with facts.

Not run, each for one reason:

* images, audio, PDF and Anthropic's other blocks: the model reads text only;
* another model for one call: an adapter belongs to one model, so KBLaMChat raises ConfigError;
* initialisation from environment variables: there are no credentials to read;
* serialisation: refused on purpose, as the facts would be left out of it;
* recorded traffic (VCR): there is no traffic.

The tests of structured output ask for jokes, of which the facts say nothing: there the model may
not refuse. What it is shown to refuse is tested elsewhere.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from kblam_integrations.langchain import KBLaMChat

pytestmark = pytest.mark.long

FACTS = [
    ("Ada Lovelace", "birthplace", "London"),
    ("Project Heron", "budget", "48200 euros"),
    ("Aurora", "launch code", "QX-7719"),
]


class _Knowledge:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return KBLaMChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"kb": FACTS}

    @property
    def supports_model_override(self) -> bool:
        return False


@pytest.mark.weights
class TestUnit(_Knowledge, ChatModelUnitTests):
    pass


@pytest.mark.weights
class TestIntegration(_Knowledge, ChatModelIntegrationTests):
    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {**super().standard_chat_model_params, "max_tokens": 56}

    @pytest.fixture
    def model(self, request: Any) -> BaseChatModel:
        structured = "structured_output" in request.node.name or "json_mode" in request.node.name
        params = {**self.standard_chat_model_params, **self.chat_model_params}
        if structured:  # jokes go on for as long as they may
            params |= {"refusal_threshold": 1.0, "max_tokens": 28}
        return KBLaMChat(**params)

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True
