"""The service in a Swarm of three engines, while it is deployed, upgraded and broken."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.kit.servers import until

from .deployment import PROJECT, SERVERS, WANTED, WHOLE_DEADLINE, Deployment

pytestmark = pytest.mark.timeout(3000)

# An image with a tar, which MySQL's has not.
TAR = SERVERS[1]


def test_a_lead_goes_in_at_each_host_and_comes_out(deployment: Deployment):
    hosts = [each.name for each in deployment.swarm.engines]

    made = [deployment.accept(url) for url in deployment.urls]

    for each in made:
        until(lambda each=each: deployment.get(f"/api/leads/{each}").json()["data"]["state"] == "stored", 60, 0.5)
    assert deployment.is_whole(hosts)
    assert deployment.hosts_of("nginx") == hosts
    assert deployment.hosts_of("mysql") == deployment.hosts_of("redis") == hosts[:1]
    assert len(set(deployment.hosts_of("api"))) > 1


def test_no_secret_is_in_what_swarm_shows(deployment: Deployment):
    file = (deployment.directory / "compose" / "production.env").read_text()
    secrets = re.findall(r"^\w*PASSWORD\w*=(.+)$", file, re.MULTILINE)
    manager = deployment.swarm.manager
    services = manager.docker("service", "ls", "--quiet", "--filter", f"label=com.docker.stack.namespace={PROJECT}")

    shown = manager.docker("service", "inspect", *services.split())
    shown += manager.docker("secret", "inspect", *manager.docker("secret", "ls", "--quiet").split())

    assert len(secrets) > 10
    assert not [each for each in secrets if each in shown]


def test_an_upgrade_under_load_fails_no_request(deployment: Deployment, tmp_path: Path):
    before = {each["ID"] for service in WANTED for each in deployment.tasks(service)}
    deployment.change("schema/__init__.py", "\n# Another release.\n")
    deployment.build()

    with deployment.load(tmp_path / "clients") as clients:
        deployment.deploy()

    assert not before & {each["ID"] for service in WANTED for each in deployment.tasks(service)}
    # A client tries another host when a connection is refused; here none was.
    assert clients.requests().keys() == {"202"}
    deployment.assert_each_is_one_row(clients)


def test_a_release_that_does_not_start_is_rolled_back(deployment: Deployment, tmp_path: Path):
    working = {each["Spec"]["ContainerSpec"]["Image"] for each in deployment.tasks("api")}
    app = deployment.directory / "ingest_api" / "app.py"
    content = app.read_text()
    deployment.change("ingest_api/app.py", '\nraise RuntimeError("this release does not start")\n')
    deployment.build()

    with deployment.load(tmp_path / "clients") as clients:
        said = deployment.deploy(ok=False)

    assert "Swarm took it back to what it was" in said
    assert clients.requests().keys() == {"202"}
    for service in ("api", "worker", "beat"):
        until(lambda service=service: len(deployment.hosts_of(service)) == WANTED[service], WHOLE_DEADLINE, 2)
        assert {each["Spec"]["ContainerSpec"]["Image"] for each in deployment.tasks(service)} == working
    deployment.assert_each_is_one_row(clients)

    app.write_text(content)
    deployment.build()
    deployment.deploy()


def test_an_engine_that_is_cut_off_costs_no_lead_and_the_service_is_whole_again(deployment: Deployment, tmp_path: Path):
    # Not the one with Redis and MySQL, which are there once; of the others that with most to lose.
    first, *others = deployment.swarm.engines
    lost = max(others, key=lambda each: deployment.hosts_of("api").count(each.name))
    left = [each.name for each in deployment.swarm.engines if each is not lost]
    assert lost.name in deployment.hosts_of("api")

    with deployment.load(tmp_path / "clients") as clients:
        lost.cut()
        until(lambda: deployment.is_whole(left), WHOLE_DEADLINE, 2)
        lost.join()
        until(lambda: deployment.is_whole([*left, lost.name]) and deployment.has_proxies(3), WHOLE_DEADLINE, 2)

    assert deployment.hosts_of("mysql") == deployment.hosts_of("redis") == [first.name]
    deployment.assert_each_is_one_row(clients)
    for url in deployment.urls:
        until(lambda url=url: deployment.takes_leads(url), 60, 1)


def test_keys_are_changed_and_nobody_is_logged_out(deployment: Deployment):
    keys = deployment.directory / "compose" / "keys"
    token = deployment.token()
    deployment.run("openssl", "genrsa", "-out", str(keys / "next"), "2048")
    deployment.run("openssl", "rsa", "-in", str(keys / "next"), "-pubout", "-out", str(keys / "accepted" / "next.pem"))
    deployment.deploy()
    (keys / "accepted" / "old.pem").write_bytes((keys / "jwt-public.pem").read_bytes())
    (keys / "next").replace(keys / "jwt-private.pem")
    deployment.deploy()

    new = deployment.log_in()

    assert new.partition(".")[0] != token.partition(".")[0]  # the key's id is in it
    for each in (token, new):
        for url in deployment.urls:
            answer = httpx.get(f"{url}/api/leads", headers={"Authorization": f"Bearer {each}"}, timeout=30)
            assert answer.status_code == 200, answer.text


def test_a_backup_is_restored(deployment: Deployment):
    ids = "SELECT BIN_TO_UUID(id) FROM leads"
    kept = deployment.accept(deployment.urls[0])
    until(lambda: kept in deployment.rows(ids), 60, 1)
    file = deployment.run("make", "stack-backup", DOCKER_HOST=deployment.swarm.manager.socket).splitlines()[-1]
    later = deployment.accept(deployment.urls[0])
    until(lambda: later in deployment.rows(ids), 60, 1)

    deployment.scale(worker=0, beat=0)
    waiting = deployment.accept(deployment.urls[0])
    deployment.run("make", "stack-restore", f"FILE={file}", "YES=1", DOCKER_HOST=deployment.swarm.manager.socket)
    deployment.deploy()

    until(lambda: waiting in deployment.rows(ids), 60, 1)
    found = deployment.rows(ids)
    assert kept in found
    assert later not in found


def test_mysqls_volume_moves_to_another_host(deployment: Deployment):
    manager, new, *_ = deployment.swarm.engines
    made = deployment.accept(deployment.urls[0])
    until(lambda: deployment.get(f"/api/leads/{made}").json()["data"]["state"] == "stored", 60, 0.5)
    new.copy(*SERVERS)

    deployment.scale(mysql=0)
    until(lambda: not manager.docker("ps", "--quiet", "--filter", f"name={PROJECT}_mysql"), 90, 1)
    waiting = deployment.accept(deployment.urls[0])
    volume = f"{PROJECT}_mysql"
    once = ("run", "--rm", "--user", "0", "--entrypoint", "tar", "--interactive", "--volume")
    tar = (TAR, "--numeric-owner", "-C")
    take = ("docker", "--host", manager.socket, *once, f"{volume}:/from:ro", *tar, "/from", "-c", ".")
    give = ("docker", "--host", new.socket, *once, f"{volume}:/to", *tar, "/to", "-xp")
    with subprocess.Popen(take, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as old:
        subprocess.run(give, stdin=old.stdout, check=True)
    assert old.returncode == 0
    manager.docker("node", "update", "--label-rm", "lead-ingest.mysql", manager.name)
    manager.docker("node", "update", "--label-add", "lead-ingest.mysql=yes", new.name)
    deployment.scale(mysql=1)

    until(lambda: deployment.hosts_of("mysql") == [new.name], WHOLE_DEADLINE, 2)
    until(lambda: {made, waiting} <= deployment.rows("SELECT BIN_TO_UUID(id) FROM leads"), WHOLE_DEADLINE, 2)
