"""tests.releases.checkout: what happens where the history was left out."""

from pathlib import Path

import pytest

from tests.releases import checkout


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_the_history_there_is_one_clear_line(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(checkout, "LAST_RELEASE", "0123456789abcdef0123456789abcdef01234567")

    with pytest.raises(outcome, match=r"^the history does not hold the last release \(0123456\)$"):
        checkout.check_out(tmp_path / "release")
