"""What all tests share: the environment holds no settings of ours."""

import os

import pytest

# Settings of the developer's shell would change what is tested.
for name in [name for name in os.environ if name.startswith("LEADS_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADS_")]:
        monkeypatch.delenv(name)
