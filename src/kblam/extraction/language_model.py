"""Facts from a language model that fills a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tqdm.auto import tqdm

from kblam.errors import ConfigError
from kblam.extraction.documents import Document
from kblam.extraction.statements import Passages, Statement

__all__ = [
    "Complete",
    "LanguageModelExtractor",
    "facts_schema",
    "kblam_complete",
    "langchain_complete",
    "llama_index_complete",
]

_PROMPT = """\
Write down the facts that the text states, each as an entity, a property of it and the value of \
the property. Use the words of the text. Write "Ann Lee", "employer", "Acme" rather than a \
sentence.

Text: Aurora was founded in Lund in 2011. Its lead is Mirela Osei.
Facts: {"facts": [{"entity": "Aurora", "property": "founded in", "value": "Lund"}, \
{"entity": "Aurora", "property": "founding year", "value": "2011"}, \
{"entity": "Aurora", "property": "lead", "value": "Mirela Osei"}]}

Text: %s
Facts:"""
_PARTS = ("entity", "property", "value")
_NEW_TOKENS = 512

Complete = Callable[[str, Mapping[str, Any]], str]


class LanguageModelExtractor:
    """Asks a language model for the facts of each passage.

    Args:
        complete: Called with a prompt and a JSON schema; returns text that fills the schema. What
            does not is reported and left out.
        prompt: The instructions, with ``%s`` where the passage belongs.
        max_facts: At most so many facts of one passage.
        needs_evidence: Leave out facts whose entity or value the passage does not name. Small
            models make up a good part of what they say.
        progress: Show a progress bar.

    Raises:
        ConfigError: The prompt has no place for the passage.
    """

    cuts = True

    def __init__(
        self,
        complete: Complete,
        *,
        prompt: str = _PROMPT,
        max_facts: int = 12,
        needs_evidence: bool = True,
        progress: bool = False,
    ) -> None:
        if "%s" not in prompt:
            raise ConfigError("The prompt of an extractor needs %s where the passage belongs.")
        self.needs_evidence = needs_evidence
        self._complete = complete
        self._prompt = prompt
        self._schema = facts_schema(max_facts)
        self._progress = progress

    def extract(self, passages: Passages) -> Iterator[Statement]:
        """Yield what the model says of each passage."""
        for passage in tqdm(passages, desc="Reading", unit=" passages", disable=not self._progress):
            if passage.text.strip():
                prompt = self._prompt.replace("%s", passage.text)
                yield from _parsed(passage, self._complete(prompt, self._schema))


def facts_schema(max_facts: int) -> dict[str, Any]:
    """Return the JSON schema of a list of facts."""
    # Without a length a model may fill one part with all the tokens it has.
    text = {"type": "string", "minLength": 1, "maxLength": 80}
    return {
        "title": "facts",
        "description": "The facts that a text states.",
        "type": "object",
        "properties": {
            "facts": {
                "type": "array",
                "maxItems": max_facts,
                "items": {
                    "type": "object",
                    "properties": dict.fromkeys(_PARTS, text),
                    "required": list(_PARTS),
                    "additionalProperties": False,
                },
            }
        },
        "required": ["facts"],
        "additionalProperties": False,
    }


def kblam_complete(model: Any) -> Complete:
    """Make a completion function of a KBLaM model.

    Args:
        model: Without facts of its own: ``KBLaM.from_pretrained(adapter=None)``.
    """
    from kblam.config import GenerationOptions
    from kblam.constraint import OutputConstraint

    def complete(prompt: str, schema: Mapping[str, Any]) -> str:
        options = GenerationOptions(
            constraint=OutputConstraint.json_schema(schema), max_new_tokens=_NEW_TOKENS
        )
        return str(model.ask(prompt, options).text)

    return complete


def langchain_complete(chat: Any) -> Complete:
    """Make a completion function of a LangChain chat model."""

    def complete(prompt: str, schema: Mapping[str, Any]) -> str:
        return json.dumps(chat.with_structured_output(dict(schema)).invoke(prompt))

    return complete


def llama_index_complete(llm: Any) -> Complete:
    """Make a completion function of a LlamaIndex LLM, which is told the schema in words."""

    def complete(prompt: str, schema: Mapping[str, Any]) -> str:
        asked = f"{prompt}\n\nAnswer with JSON that fits {json.dumps(schema)}"
        return str(llm.complete(asked).text)

    return complete


def _parsed(passage: Document, answer: str) -> Iterator[Statement]:
    """Yield the facts of an answer: the JSON object in it, whatever is said around it."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        items = _loaded(answer[start : end + 1])["facts"]
    except (ValueError, KeyError, TypeError, RecursionError):
        yield Statement(passage, "", "", "", problem=f"no list of facts in {answer!r:.200}")
        return
    for item in items if isinstance(items, list) else [items]:
        parts = [item.get(part) for part in _PARTS] if isinstance(item, dict) else []
        if parts and all(isinstance(part, str) for part in parts):
            entity, name, value = map(str, parts)
            yield Statement(passage, entity, name, value)
        else:
            yield Statement(passage, "", "", "", problem=f"not a fact: {item!r:.200}")


def _loaded(text: str) -> Any:
    """Read JSON with its numbers as they are written; NaN and infinity are none of them."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None)
