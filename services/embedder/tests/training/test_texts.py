"""The texts that agreement is measured on."""

from mesh_embedder.training.texts import measuring_texts


def test_the_texts_are_the_same_each_time_and_of_every_length() -> None:
    texts = measuring_texts()
    assert texts == measuring_texts()
    assert len(texts) == 120
    assert min(map(len, texts)) < 5
    assert max(map(len, texts)) > 2000
