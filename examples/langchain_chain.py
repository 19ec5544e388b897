"""A LangChain chain that answers from a knowledge base, with citations and streaming."""

from __future__ import annotations

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from kblam_integrations.langchain import KBLaMChat

FACTS = [
    ("Monell Chemical Senses Center", "director", "Benjamin Smith"),
    ("Monell Chemical Senses Center", "headquarters", "Philadelphia"),
    ("Larkspur Instruments", "director", "Ines Okafor"),
    ("Larkspur Instruments", "headquarters", "Tampere"),
    ("Larkspur Instruments", "support hotline", "+358 55 0142 77"),
]


def main() -> None:
    """Run the chain, look at one reply's citations, and stream another."""
    chat = KBLaMChat(kb=FACTS)
    prompt = ChatPromptTemplate.from_messages([("human", "What is the {property} of {entity}?")])
    chain = prompt | chat | StrOutputParser()
    print(chain.invoke({"property": "support hotline", "entity": "Larkspur Instruments"}))

    reply = chat.invoke("Who is the director of Monell Chemical Senses Center?")
    print(reply.content)
    for citation in reply.response_metadata["citations"]:
        print(f"  [{citation['score']:.2f}] {citation['entity']}: {citation['property']}")
    print("  tokens:", reply.usage_metadata)

    for piece in chain.stream({"property": "headquarters", "entity": "Larkspur Instruments"}):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
