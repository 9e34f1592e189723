"""The banner that `make run` prints when the service is ready."""

from compose.preflight import TEST_USER
from schema.settings import WELL_KNOWN_PASSWORD, Settings

LEAD = (
    '{"firstName":"Ada","lastName":"Lovelace","email":"ada@example.com",'
    '"phone":"+442071234567","dateOfBirth":"1990-12-10"}'
)


def banner(settings: Settings, *, test_user: bool, warning: str) -> str:
    """Return the banner: addresses, credentials, a shell line that sends a first lead, and `warning` unless ""."""
    api = f"http://{settings.http_host}:{settings.http_port}"
    queue = "embedded" if settings.embedded_redis else "given by LEADS_REDIS_URL"
    database = "given by LEADS_DATABASE_URL" if settings.database_url else "SQLite"
    known = settings.flower_password == WELL_KNOWN_PASSWORD
    flower_password = WELL_KNOWN_PASSWORD if known else "as set by LEADS_FLOWER_PASSWORD"
    lines = [
        "",
        "  Lead Ingest is ready.",
        "",
        *([f"  Page      {api}/"] if settings.page else []),
        f"  API       {api}/api/leads",
        f"  Health    {api}/health/ready",
        f"  Flower    http://{settings.flower_host}:{settings.flower_port}"
        f"   (user {settings.flower_user}, password {flower_password})",
        f"  Data      {settings.data_dir}   (queue {queue}, database {database})",
    ]
    if test_user:
        login = f'{{"email":"{TEST_USER}","password":"{WELL_KNOWN_PASSWORD}"}}'
        lines += [
            f"  Login     {TEST_USER}   password {WELL_KNOWN_PASSWORD}",
            "",
            "  Send a first lead, and list what is stored:",
            "",
            f"TOKEN=$(curl -s {api}/api/login_check -H 'Content-Type: application/json' -d '{login}'"
            ' | sed \'s/.*"token":"\\([^"]*\\)".*/\\1/\')'
            f" && curl -s {api}/api/leads -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json'"
            f" -d '{LEAD}' && echo && sleep 1 && curl -s {api}/api/leads -H \"Authorization: Bearer $TOKEN\" && echo",
        ]
    else:
        lines.append("  Login     make a user with: python -m ingest_api user create EMAIL --role ingest")
    if warning:
        lines += ["", f"  WARNING   {warning}"]
    return "\n".join([*lines, "", "  Ctrl-C stops everything and loses nothing.", ""])
