"""tests.releases.checkout: what happens where the history was left out."""

from pathlib import Path

import pytest

from tests.releases import checkout


def test_without_the_history_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkout, "LAST_RELEASE", "0123456789abcdef0123456789abcdef01234567")

    with pytest.raises(pytest.skip.Exception, match=r"^the history does not hold the last release \(0123456\)$"):
        checkout.check_out(tmp_path / "release")
