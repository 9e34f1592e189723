"""The page's view Dead letters as tests see it: leads that the database refuses, and what stands on the page."""

from typing import Any

from sqlalchemy import make_url

from tests.kit.databases import MariaDBServer
from tests.kit.leads import assert_success
from tests.kit.page import ADMIN, ADMIN_PASSWORD, LeadPage, go_to
from tests.kit.servers import until
from tests.kit.service import Service

# First names that the database may refuse, with the error that it then gives.
REFUSED, WORSE = "Refused", "Worse"
ERRORS = {REFUSED: 1644, WORSE: 3819}


class Refusing:
    """A service whose database refuses the leads of some first names."""

    def __init__(self, service: Service, server: MariaDBServer) -> None:
        self.service = service
        self._server = server
        self._database = make_url(str(service.settings["database_url"])).database
        self._refused: list[str] = []

    def refuse(self, *names: str) -> None:
        """Refuse these names, and no others any more."""
        rules = " ".join(
            f"IF NEW.first_name = '{name}' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {ERRORS[name]}; END IF;"
            for name in names
        )
        self._server.execute(
            f"CREATE OR REPLACE TRIGGER {self._database}.refusal BEFORE INSERT ON {self._database}.leads "
            f"FOR EACH ROW BEGIN {rules} END"
        )

    def dead_letter(self, *leads: dict[str, Any]) -> list[str]:
        """Refuse leads, and return their ids once they are dead letters."""
        self.refuse(*ERRORS)
        ids = self.service.accept(*leads)
        self._refused += ids
        until(lambda: {*ids} <= {each["id"] for each in self.letters()})
        return ids

    def store_all(self) -> None:
        """Replay what is dead, and wait until all that was ever refused is stored."""
        self.refuse()
        self.replay(all=True)
        self.service.wait_until_stored(*self._refused)

    def letters(self) -> list[dict[str, Any]]:
        """Return the dead letters as the API lists them."""
        answer = self.service.get("/api/dead-letters", self.token, params={"limit": 100})
        return list(assert_success(answer, 200)["items"])

    def replay(self, **what: object) -> int:
        """Replay one or all by the API, as another administrator does."""
        answer = self.service.post("/api/dead-letters/replay", what, self.token)
        return int(assert_success(answer, 200)["replayed"])

    @property
    def token(self) -> str:
        return self.service.token(ADMIN, ADMIN_PASSWORD)


def at_the_letters(page: LeadPage, refusing: Refusing) -> None:
    """Open the page at the dead letters, as an administrator sees it."""
    if page.shown("#user") != ADMIN or page.run("return location.origin") != refusing.service.base_url:
        page.visit(refusing.service)
        page.log_in(ADMIN, ADMIN_PASSWORD)
    go_to(page, "now")
    go_to(page, "letters")
    page.wait_for("#letters-total", "ead letter")


def cards(page: LeadPage) -> list[dict[str, str]]:
    """Return the dead letters that are shown."""
    found: list[dict[str, str]] = page.run(
        "return [...document.querySelectorAll('#letters-list li')].map((each) => ({"
        "  letter: each.dataset.letter,"
        "  reason: each.querySelector('.reason').textContent,"
        "  since: each.querySelector('time').dateTime,"
        "  lead: each.querySelector('a').hash,"
        "}))"
    )
    return found


def as_cards(letters: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what is to be shown of dead letters."""
    return [
        {name: each[name] for name in ("letter", "reason", "since")} | {"lead": f"#lead/{each['id']}"}
        for each in letters
    ]


def reasons(page: LeadPage) -> list[str]:
    """Return the reasons to choose from, with their numbers."""
    found: list[str] = page.run(
        "return [...document.querySelectorAll('#reasons button')].map((each) => each.textContent)"
    )
    return found


def outcome(page: LeadPage, letter: dict[str, Any]) -> str:
    """Return what the page says became of a dead letter."""
    return page.shown(f"[data-letter='{letter['letter']}'] .outcome")


def replay(page: LeadPage, letter: dict[str, Any]) -> None:
    """Replay one by its button."""
    page.click(f"[data-letter='{letter['letter']}'] .replay")
