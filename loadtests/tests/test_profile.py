import json
from collections import Counter

from mesh_load.profile import BAD, GRPC_KINDS, HTTP_KINDS, INFER, OK, TEXTS, kinds
from mesh_load.texts import REPEATED_SHARE, Texts


def test_the_mix_is_whole() -> None:
    assert sum(kind.share for kind in kinds(grpc=True)) == 100
    assert kinds(grpc=False) == HTTP_KINDS
    assert set(TEXTS) == {kind.name for kind in (*HTTP_KINDS, *GRPC_KINDS)}


def test_each_kind_has_its_texts() -> None:
    texts = Texts(1)
    for kind in HTTP_KINDS:
        ask = kind.ask(texts)
        if ask.status == BAD:
            continue
        assert ask.status == OK
        body = json.loads(ask.body)
        if ask.path == INFER:
            (tensor,) = body["inputs"]
            assert tensor["shape"] == [kind.texts]
            assert len(tensor["data"]) == kind.texts
        else:
            assert len(body["texts"]) == kind.texts == TEXTS[kind.name]


def test_two_callers_share_no_texts_but_those_that_come_again() -> None:
    one, other = Texts(1), Texts(2)
    counts = Counter(each.short() for each in (one, other) for _ in range(2000))
    repeated = sum(count for count in counts.values() if count > 1)
    assert abs(repeated / 4000 - REPEATED_SHARE) < 0.03
    assert len(counts) > 4000 * (1 - REPEATED_SHARE)


def test_texts_have_their_lengths() -> None:
    texts = Texts(3)
    words = [len(text.split()) for text in (texts.short(), texts.usual(), texts.long())]
    assert 12 <= words[0] <= 32
    assert 30 <= words[1] <= 60
    assert words[2] > 180
