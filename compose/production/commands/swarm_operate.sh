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

client() { # PROGRAM [ARGUMENT...]: one of MySQL's, with the rights of `migrate`
    program=$1
    shift
    place=$(setting STACK_MYSQL mysql:3306)
    MYSQL_PWD=$(setting MYSQL_MIGRATE_PASSWORD '')
    export MYSQL_PWD
    beside --interactive --env MYSQL_PWD --user mysql --entrypoint "$program" mysql:9.7 \
        --host "${place%:*}" --port "${place##*:}" --user leads_migrate "$@"
}

sql() { # [ARGUMENT...]: run the statements that come in
    client mysql "$@" leads
}

backup() {
    umask 077
    mkdir -p backups
    file=backups/leads-$(date -u +%Y%m%dT%H%M%SZ).sql.gz
    # MySQL 9.7 would look for masking policies, which this account may not read.
    client mysqldump --single-transaction --quick --set-gtid-purged=OFF --hex-blob --no-tablespaces \
        --loose-skip-masking-policies leads | gzip >"$file.part"
    # mysqldump's last line shows that the dump is complete; the pipe's status does not.
    gzip -dc "$file.part" | tail -n 1 | grep -q '^-- Dump completed' || fail "The backup is not whole: compose/$file.part"
    mv "$file.part" "$file"
    echo "compose/$file"
}
