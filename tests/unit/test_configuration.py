"""docs/configuration.md is what the declarations of the settings say."""

import dataclasses
from pathlib import Path

from schema import configuration
from schema.settings import Settings, variable

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current():
    assert PAGE.read_text() == configuration.reference(), "run `make docs`"


def test_the_reference_names_every_setting_once():
    rows = [line for line in configuration.reference().splitlines() if line.startswith("| `LEADS_")]

    assert sorted(row.split("`")[1] for row in rows) == sorted(
        variable(spec.name) for spec in dataclasses.fields(Settings)
    )
