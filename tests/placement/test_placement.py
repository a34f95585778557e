import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import PlacementError
from derailleur.placement import MIXERS, Placement

placements = st.text("".join(MIXERS), min_size=1, max_size=60).map(Placement)


@given(placements)
def test_both_spellings_are_read_back(placement: Placement) -> None:
    for text in (str(placement), placement.run_length()):
        assert Placement.parse(text, len(placement)) == placement


@given(placements)
def test_counts_are_the_allocation(placement: Placement) -> None:
    counts = placement.counts()
    assert list(counts) == list(MIXERS)
    assert sum(counts.values()) == len(placement)
    assert all(list(placement).count(letter) == count for letter, count in counts.items())


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("all-gdn", "GGGG"),
        ("ALL-SWA", "SSSS"),
        ("all-f", "FFFF"),
        ("2F 1S 1G", "FFSG"),
        ("2F1SG", "FFSG"),
        ("2F, 2K", "FFKK"),
        (" FSKG ", "FSKG"),
        ("quick", "GGSS"),
    ],
)
def test_every_spelling(text: str, letters: str) -> None:
    assert Placement.parse(text, 4, presets={"quick": Placement("GGSS")}).letters == letters


@pytest.mark.parametrize("text", ["all-mamba", "FXFF", "fsgk", "FFF", "5F", "", "slow", "4"])
def test_bad_text_is_named(text: str) -> None:
    with pytest.raises(PlacementError, match=f"'{text}'"):
        Placement.parse(text, 4, presets={"quick": Placement("GGSS")})


@pytest.mark.parametrize("letters", ["", "FfF", "F G"])
def test_the_constructor_takes_letters_alone(letters: str) -> None:
    with pytest.raises(PlacementError, match="one letter"):
        Placement(letters)


def test_uniform_of_and_order() -> None:
    assert Placement.uniform("G", 3) == Placement.of("GGG") == Placement("GGG")
    assert list(Placement("FS")) == ["F", "S"]
    assert Placement("FS")[1] == "S"
    assert sorted([Placement("SF"), Placement("FS")])[0] == Placement("FS")
