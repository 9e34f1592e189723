"""An installation of the last release becomes one of this by `git pull` and `make build`, and can be taken back."""

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.releases import LAST_RELEASE

from .stack import Stack, docker

pytestmark = pytest.mark.timeout(900)


def as_root(stack: Stack, statement: str) -> str:
    """Run a statement as MySQL's root; return what it found."""
    (mysql,) = stack.containers("mysql")
    command = f'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -u root -Ne "{statement}"'
    return docker("exec", mysql["Id"], "sh", "-c", command).strip()


def test_an_installation_of_the_last_release_is_upgraded_by_itself_and_can_be_taken_back(stack_of_last_release: Stack):
    stack = stack_of_last_release
    made = [stack.accept() for _ in range(20)]
    before = (stack.directory / "compose" / "production.env").read_text()

    stack.check_out("HEAD")
    stack.make("build")

    # Its secrets are what they were, with those that it had not; its one account for all is of no use any more.
    file = stack.directory / "compose" / "production.env"
    assert file.read_text().startswith(before)
    assert file.stat().st_mode & 0o077 == 0
    assert as_root(stack, "SELECT account_locked FROM mysql.user WHERE user = 'leads'") == "Y"
    for container in stack.containers():
        assert stack.secret("MYSQL_PASSWORD") not in str(container["Config"]["Env"])
    # And leads, users and tokens are those of before.
    made += [stack.accept() for _ in range(20)]
    ledger = stack.wait_until_drained()
    assert set(made) == set(stack.stored())
    assert (ledger["stored"], ledger["imbalance"]) == (40, 0)
    assert stack.client.post("/api/leads", json=a_lead()).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{stack.flower_port}/healthcheck", timeout=20).status_code == 200

    # When it is taken back, as docs/operations.md says
    docker("stop", *(each["Id"] for service in ("worker", "beat") for each in stack.containers(service)))
    made.append(stack.accept())
    stack.run("schema", "downgrade", "0004")
    as_root(stack, "ALTER USER leads ACCOUNT UNLOCK")
    stack.check_out(LAST_RELEASE)
    stack.make("build")

    # Then it goes on with what it has
    made.append(stack.accept())
    stack.wait_until_drained()
    assert set(made) == set(stack.stored())
