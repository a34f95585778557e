"""Overrides are told apart from a command's own arguments wherever they stand."""

from pathlib import Path

import pytest
from pydantic import Field

from derailleur.cli.arguments import parser, split_overrides
from derailleur.config import Config
from derailleur.errors import UserError


class SomeConfig(Config):
    steps: int = Field(1, description="Steps.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["IN", "--out", "OUT", "--json", "--steps", "3", "--a.b=4"],
        ["--steps", "3", "--a.b=4", "IN", "--json", "--out", "OUT"],
        ["--json", "--steps", "3", "IN", "--out=OUT", "--a.b=4"],
    ],
)
def test_overrides_in_any_place(arguments: list[str]) -> None:
    made = parser("try", "A command.", "derailleur try IN --out OUT", SomeConfig)
    made.add_argument("source", type=Path)
    made.add_argument("--out", type=Path)
    made.add_argument("--json", action="store_true")
    options, overrides = split_overrides(made, arguments)
    assert (options.source, options.out, options.json) == (Path("IN"), Path("OUT"), True)
    assert overrides == ["--steps", "3", "--a.b=4"]


def test_errors_are_one_line() -> None:
    made = parser("try", "A command.", "derailleur try IN")
    made.add_argument("source")
    with pytest.raises(
        UserError, match="try: the following arguments are required: source; see derailleur try"
    ):
        made.parse_args([])
