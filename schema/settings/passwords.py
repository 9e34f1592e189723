"""What is no password: those that everybody knows, and short ones."""

# Password of the test user of the embedded run, published in its banner and the README.
WELL_KNOWN_PASSWORD = "password123"  # noqa: S105 (no secret)

# What an attacker tries first.
WELL_KNOWN = {"", WELL_KNOWN_PASSWORD, "password", "secret", "changeme", "admin", "root", "leads", "test", "12345678"}

SECRET_MIN = 12  # characters


def weakness(secret: str) -> str:
    """Return what is wrong with a secret, as the end of a sentence; "" for a good one."""
    if secret.lower() in WELL_KNOWN:
        return "the password is empty or well known; set another"
    if len(secret) < SECRET_MIN:
        return f"the password has less than {SECRET_MIN} characters"
    return ""
