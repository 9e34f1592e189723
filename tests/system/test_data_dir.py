"""What `make run` keeps is for the user who runs it: leads, hashes of passwords, the queue's socket."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import Service


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(directory: Path) -> list[Path]:
    """Return what in a directory others than its owner may read or write."""
    return [path for path in directory.rglob("*") if not path.is_symlink() and mode(path) & 0o077]


@pytest.fixture
def own(tmp_path: Path) -> Service:
    """A service that does not run yet, started by somebody whose umask hides nothing."""
    os.umask(0o022)
    return Service(tmp_path)


def test_nobody_else_reads_the_data_dir(own: Service):
    with own:
        own.wait_until_stored(*own.accept(a_lead()))

        assert mode(own.data) == 0o700
        assert {"leads.db", "redis", "logs"} <= {path.name for path in own.data.iterdir()}
        assert open_to_others(own.data) == []


def test_a_data_dir_of_an_earlier_release_is_closed(own: Service):
    (own.data / "redis").mkdir(parents=True, mode=0o755)
    assert mode(own.data) == 0o755

    with own:
        assert mode(own.data) == 0o700


def test_a_directory_that_is_for_all_is_refused(own: Service):
    own.data.mkdir()
    own.data.chmod(0o1777)

    process = own.launch()

    assert process.wait(30) == 2
    assert "LEADS_DATA_DIR" in own.errors
    assert mode(own.data) == 0o1777


def test_the_socket_of_a_long_data_dir_is_in_a_directory_that_nobody_else_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = Service(tmp_path, data_dir=tmp_path / ("long" * 25))
    with tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        with own:
            own.wait_until_stored(*own.accept(a_lead()))
            (directory,) = Path(temporary).glob("lead-ingest-*")
            assert mode(directory) == 0o700
            assert {path.name for path in directory.iterdir()} == {"redis.sock"}
            own.stop()

        # Such as one in which somebody else waits for what we write.
        directory.chmod(0o777)
        assert own.launch().wait(30) == 2
        assert "not this user's alone" in own.errors
