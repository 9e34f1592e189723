# shellcheck shell=sh
# The keys of the tokens.

# Changes the keys of the tokens step by step; after each, every API process is replaced by one that reads them anew.
rotate_key() { # prepare | use | retire
    compose run --rm -T migrate python -m ingest_api key "$1"
    for each in $(containers api); do
        # Not docker kill, after which Docker would no longer start the container again by itself.
        docker exec "$each" sh -c 'kill -HUP 1'
    done
}
