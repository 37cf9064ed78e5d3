"""Reading WordNet's own format."""

from tools.wordnet_build import hypernyms, with_ancestors

# Three synsets in the format of wndb(5WN), made up but for the symbols: "@" is a hypernym, "@i" that of an instance.
LINES = [
    "  1 This software and database is being provided to you\n",
    "00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | what there is\n",
    '00000002 03 n 02 fish 0 sea_fish 1 002 @ 00000001 n 0000 ~ 00000003 n 0000 | it swims; "@ 1 | 2"\n',
    "00000003 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 003"
    " @ 00000002 n 0000 @i 00000001 n 0000 + 00000009 v 0101 | x\n",
]


def test_hypernyms_in_their_order():
    assert hypernyms(LINES) == {
        "n00000001": [],
        "n00000002": ["n00000001"],
        "n00000003": ["n00000002", "n00000001"],
    }


def test_ancestors_come_along_and_others_stay_out():
    parents = hypernyms(LINES)
    assert list(with_ancestors(["n00000002"], parents)) == ["n00000001", "n00000002"]
