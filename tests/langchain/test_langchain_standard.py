"""LangChain's standard tests, on the default model with facts.

Not run, each for one reason:

* tools, structured output, JSON mode, agents: KBLaMChat raises NotImplementedError on them;
* images, audio, PDF and Anthropic's tool blocks: the model reads text only;
* another model for one call: an adapter belongs to one model, so KBLaMChat raises ConfigError;
* initialisation from environment variables: there are no credentials to read;
* serialisation: refused on purpose, as the facts would be left out of it;
* recorded traffic (VCR): there is no traffic.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from kblam_integrations.langchain import KBLaMChat

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

    # bind_tools and with_structured_output exist to say that they are not supported yet.
    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_tool_choice(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False

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
        return {**super().standard_chat_model_params, "max_tokens": 8}
