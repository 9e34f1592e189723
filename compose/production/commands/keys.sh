# shellcheck shell=sh
# The keys of the tokens.

# Runs one step of a key rotation, then replaces every API process (SIGHUP), so that it loads the keys.
rotate_key() { # prepare | use | retire
    compose run --rm -T migrate python -m ingest_api key "$1"
    for each in $(containers api); do
        # Not `docker kill`, after which Docker's restart policy would not apply any more.
        docker exec "$each" sh -c 'kill -HUP 1'
    done
}
