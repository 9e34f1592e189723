"""The code blocks of the documentation, to be run."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.kit.service import ROOT, Service

ADDRESS = "http://127.0.0.1:8080"


def blocks(page: str, language: str, service: Service) -> list[str]:
    """Return the blocks of a language, with this service's address in place of the usual one."""
    text = (ROOT / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block.replace(ADDRESS, service.base_url) for block in found]


def commands(page: str, service: Service) -> Iterator[str]:
    """Yield the commands of a page's console blocks, those on several lines in one, without comments."""
    for block in blocks(page, "console", service):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield re.sub(r"\s+# .*", "", line[2:]).strip()


def write_csv(path: Path, leads: list[dict[str, str]]) -> None:
    """Write leads as CSV."""
    path.write_text("\n".join([",".join(leads[0]), *(",".join(lead.values()) for lead in leads), ""]))
