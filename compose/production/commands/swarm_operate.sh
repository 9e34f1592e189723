# shellcheck shell=sh
# Docker Swarm: commands of operators, each in a container of its own on this manager, in the service's network.

beside() { # ARGUMENT...: docker run in the network
    docker run --rm --network "${PROJECT}_back" --cap-drop ALL --read-only --tmpfs /tmp "$@"
}

# A command that may change users, tables and what is in the queue, with the rights of `migrate`.
operate() { # MODULE [ARGUMENT...]
    [ $# -gt 0 ] || fail "run MODULE: ingest_api, schema or workers, and its command"
    LEADS_REDIS_URL=$(redis_url migrate "$(setting REDIS_MIGRATE_PASSWORD '')")
    LEADS_DATABASE_URL=$(database_url leads_migrate "$(setting MYSQL_MIGRATE_PASSWORD '')")
    export LEADS_REDIS_URL LEADS_DATABASE_URL
    terminal=
    [ ! -t 0 ] || terminal=--tty
    # shellcheck disable=SC2086 # a word or none
    beside --interactive $terminal --env LEADS_REDIS_URL --env LEADS_DATABASE_URL "$(setting LEADS_IMAGE '')" python -m "$@"
}

mysql_place() { # HOST:PORT
    place=$(setting STACK_MYSQL mysql)
    case $place in
    *:*) echo "$place" ;;
    *) echo "$place:3306" ;;
    esac
}

client() { # PROGRAM [ARGUMENT...]: one of MySQL's, with the rights of `migrate`
    program=$1
    shift
    place=$(mysql_place)
    MYSQL_PWD=$(setting MYSQL_MIGRATE_PASSWORD '')
    export MYSQL_PWD
    beside --interactive --env MYSQL_PWD --user mysql --entrypoint "$program" mysql:9.7 \
        --host "${place%:*}" --port "${place##*:}" --user leads_migrate "$@"
}

sql() { # [ARGUMENT...]: run the statements that come in
    client mysql "$@" leads
}

backup() {
    # MySQL 9.7 would look for masking policies, which this account may not read.
    client mysqldump --single-transaction --quick --set-gtid-purged=OFF --hex-blob --no-tablespaces \
        --loose-skip-masking-policies leads | keep_backup
}

# Nothing may store leads meanwhile: the restore would drop their rows. MySQL may be a new one, whose tables come from the
# backup before the API sees empty ones and refuses its users' tokens.
restore() { # FILE
    file=$(whole_backup "$1")
    for service in worker beat; do
        [ -z "$(tasks "$service" 2>/dev/null)" ] ||
            fail "Stop what writes first: docker service scale ${PROJECT}_worker=0 ${PROJECT}_beat=0"
    done
    ask_for_replacement "$1"
    wait_until_ended worker beat
    if own_mysql; then
        make_objects
        put_and_wait mysql
        accounts --before || fail "Nothing was restored."
    fi
    {
        # With the tables that a later release has added. The rights in each table outlive it.
        echo "DROP DATABASE leads; CREATE DATABASE leads CHARACTER SET utf8mb4; USE leads;"
        gzip -dc "$file" | without_gtids
    } | client mysql leads || fail "FILE=$1 was not restored: MySQL says why, above. The tables are not whole. Leave the workers stopped," \
        "and restore again."
    echo "Restored. Go on with: make stack"
}

wait_until_ended() { # SERVICE...: until no container of theirs is left
    deadline=$(($(date +%s) + READY_TIMEOUT))
    for service; do
        while docker service ps --format '{{.CurrentState}}' "${PROJECT}_$service" 2>/dev/null | grep -q '^Running'; do
            [ "$(date +%s)" -lt "$deadline" ] || fail "$service does not end: docker service ps --no-trunc ${PROJECT}_$service"
            sleep 1
        done
    done
}
