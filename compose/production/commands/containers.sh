# shellcheck shell=sh
# Containers: start in order, upgrade, scale and stop.

up() { # ARGUMENTS SERVICE...: start stopped services, and replace outdated containers
    compose up -d --no-build "$@"
}

replicas() { # options for the number of API and worker containers
    echo "--scale api=$(setting API_REPLICAS 2) --scale worker=$(setting WORKER_REPLICAS 2)"
}

containers() { # SERVICE [--all]: the ids of its running containers, or of all
    # shellcheck disable=SC2086 # words, not one argument
    docker ps --quiet --no-trunc ${2:-} --filter "label=com.docker.compose.project=$PROJECT" \
        --filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.oneoff=False"
}

wait_until_healthy() { # SERVICE...
    deadline=$(($(date +%s) + READY_TIMEOUT))
    for service; do
        while :; do
            states=$(containers "$service" --all |
                xargs -r docker inspect --format '{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}' || true)
            [ -n "$states" ] && ! echo "$states" | grep -qv '^running healthy$' && break
            if [ "$(date +%s)" -ge "$deadline" ]; then
                compose logs --no-color --tail 5 "$service" >&2
                fail "$service is not healthy: make logs SERVICE=$service"
            fi
            sleep 1
        done
    done
}

start() {
    check_secrets || fail "Nothing was started."
    up mysql redis
    wait_until_healthy mysql redis
    migrate || fail "The stack did not start."
    lock_old_account
    # shellcheck disable=SC2046 # words, not one argument
    up $(replicas) api worker beat flower
    wait_until_healthy api worker beat flower
    start_nginx
}

start_nginx() {
    up nginx
    wait_until_healthy nginx
    # Reloads only a changed site: a reload closes idle keep-alive connections, on which a client may just be sending.
    compose exec -T nginx sh /etc/nginx/lead-ingest/start reload
}

# From nginx to the servers behind it, so that each can finish its open work.
stop() {
    compose stop nginx
    compose stop api worker beat flower
    compose --profile monitoring --profile grafana stop
}

migrate() {
    make_accounts || return 1
    up migrate || return 1
    [ "$(docker wait "$(containers migrate --all)")" = 0 ] || {
        compose logs --no-color --tail 20 migrate >&2
        return 1
    }
    grant
}

# A command that may change users, tables and what is in the queue, with the rights of `migrate`.
operate() { # MODULE [ARGUMENT...]
    [ $# -gt 0 ] || fail "run MODULE: ingest_api, schema or workers, and its command"
    terminal=
    [ -t 0 ] || terminal=-T
    # shellcheck disable=SC2086 # a word or none
    compose run --rm $terminal migrate python -m "$@"
}

# Rolling upgrade: starts new API containers beside the old ones, removes those once the new are healthy, then replaces
# the workers: new code reads what either writes. Migrations that break the old code run last.
upgrade() {
    if ! { check_secrets && make_accounts &&
        compose run --rm -T migrate python -m compose.production --before && grant; }; then
        fail "The stack was not changed."
    fi
    old=$(containers api)
    number=$(setting API_REPLICAS 2)
    up --no-recreate --scale "api=$(($(echo "$old" | wc -w) + number))" api
    wait_until_healthy api
    for each in $old; do
        docker stop -t 60 "$each" >/dev/null
        docker rm "$each" >/dev/null
    done
    up --scale "worker=$(setting WORKER_REPLICAS 2)" worker
    up beat flower redis mysql
    wait_until_healthy mysql redis api worker beat flower
    migrate || fail "The new release runs, but the tables are not up to date."
    lock_old_account
    start_nginx
}

scale() { # api=N worker=N
    for each; do
        number=${each#*=}
        case $each in
        api=*) name=API ;;
        worker=*) name=WORKERS ;;
        esac
        case $number in
        '' | *[!0-9]* | 0) fail "$name=$number: a number of containers from 1" ;;
        esac
    done
    for each; do
        case $each in
        api=*) save_setting API_REPLICAS "${each#*=}" ;;
        worker=*) save_setting WORKER_REPLICAS "${each#*=}" ;;
        esac
    done
    # shellcheck disable=SC2046 # words, not one argument
    up --no-recreate $(replicas) api worker
    wait_until_healthy api worker
    compose ps api worker
}
