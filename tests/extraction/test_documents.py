from __future__ import annotations

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import Document as LlamaIndexDocument
from llama_index.core.node_parser import SentenceSplitter

from kblam.errors import SourceError
from kblam.extraction import Document, read_documents
from kblam.extraction._spans import find_evidence, sentences, spelled_in
from kblam.extraction.documents import passages

TEXT = (
    "Dr. Ann Lee founded Acme Inc. in 1999. She lives in Oslo!\n\n"
    "# Stock\n- bolts: 3.5 kg\n- nails\nThe end"
)


def test_sentences_end_where_a_reader_says_so():
    assert [TEXT[start:end] for start, end in sentences(TEXT)] == [
        "Dr. Ann Lee founded Acme Inc. in 1999.",
        "She lives in Oslo!",
        "# Stock",
        "- bolts: 3.5 kg",
        "- nails\nThe end",
    ]


@pytest.mark.parametrize(
    ("entity", "value", "sentence", "complete"),
    [
        ("Acme Inc.", "Ann Lee", "Dr. Ann Lee founded Acme Inc. in 1999.", True),
        ("ann lee", "oslo", "She lives in Oslo!", True),
        ("Ann Lee", "Bergen", "Dr. Ann Lee founded Acme Inc. in 1999.", False),
        ("Bob", "nails", "- nails\nThe end", False),
    ],
)
def test_evidence_is_the_sentence_that_names_both_or_else_the_value(
    entity, value, sentence, complete
):
    found = find_evidence(TEXT, entity, value)
    assert TEXT[found.start : found.end] == sentence
    assert found.complete is complete


def test_what_a_text_does_not_name_has_no_evidence():
    assert find_evidence(TEXT, "Bob", "Bergen") is None
    assert find_evidence("Annual leave", "Ann", "Ann") is None  # whole words only


def test_names_are_spelled_as_in_the_text():
    assert spelled_in("Acme  Robotics GmbH", "acme robotics gmbh") == "Acme Robotics GmbH"
    assert spelled_in(TEXT, "Nobody") == "Nobody"


def test_passages_cover_the_text_and_know_their_place():
    document = Document(TEXT, "notes", start=100, metadata={"team": "red"})
    parts = list(passages(document, 45))
    assert len(parts) > 2
    for part in parts:
        begin = part.start - 100
        assert TEXT[begin : begin + len(part.text)] == part.text
        assert (part.id, part.metadata) == ("notes", {"team": "red"})
    assert "".join("".join(p.text for p in parts).split()) == "".join(TEXT.split())
    assert list(passages(document, 1000)) == [document]


def test_files_folders_and_texts(tmp_path):
    (tmp_path / "a.md").write_text("Öl", encoding="utf-8")
    (tmp_path / "b.txt").write_text("B", encoding="utf-8-sig")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    texts = read_documents([tmp_path, "C"])
    assert [text.text for text in texts] == ["Öl", "B", "C"]
    assert texts[0].id == (tmp_path / "a.md").as_posix()
    assert read_documents("C") == [texts[2]]  # the same name in every run


def test_a_folder_that_is_called_like_a_text_is_no_text(tmp_path):
    (tmp_path / "x.md").mkdir()
    (tmp_path / "x.md" / "a.md").write_text("A", encoding="utf-8")
    (tmp_path / "empty.txt").mkdir()
    assert [text.text for text in read_documents(tmp_path)] == ["A"]


def test_documents_of_frameworks_bring_their_names_places_and_metadata():
    langchain = LangChainDocument(
        "text", metadata={"source": "a.pdf", "start_index": 7, "team": "red", "when": object()}
    )
    (read,) = read_documents(langchain)
    assert (read.text, read.id, read.start, dict(read.metadata)) == (
        "text",
        "a.pdf",
        7,
        {"team": "red"},
    )
    whole = LlamaIndexDocument(text="One sentence. " * 60, doc_id="handbook", metadata={"v": 2})
    nodes = SentenceSplitter(chunk_size=64, chunk_overlap=0).get_nodes_from_documents([whole])
    read_nodes = read_documents(nodes)
    assert len(read_nodes) > 1
    for node in read_nodes:
        assert node.id == "handbook"
        assert whole.text[node.start :].startswith(node.text)


@pytest.mark.parametrize("wrong", [7, None, b"bytes", {"text": "x"}])
def test_what_is_no_document_is_said_to_be_none(wrong):
    with pytest.raises(SourceError, match="Expected a text"):
        read_documents(wrong)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="UTF-8"):
        read_documents(tmp_path / "binary.txt")
    with pytest.raises(SourceError, match="could not read"):
        read_documents(tmp_path / "missing.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="found no file"):
        read_documents(tmp_path / "empty")
