"""`python -m ingest_api`"""

from ingest_api.cli import main

main()
