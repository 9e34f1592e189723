# shellcheck shell=sh
# Backups of MySQL, and their restore.

backup() {
    umask 077
    mkdir -p backups
    file=backups/leads-$(date -u +%Y%m%dT%H%M%SZ).sql.gz
    # One snapshot, which does not block the workers. No GTIDs, so that any server can restore it.
    # shellcheck disable=SC2016 # the shell in the container expands it
    compose exec -T mysql sh -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysqldump -u root --single-transaction --quick \
        --set-gtid-purged=OFF --hex-blob --no-tablespaces "$MYSQL_DATABASE"' | gzip >"$file.part"
    # mysqldump's last line shows that the dump is complete; the pipe's status does not.
    gzip -dc "$file.part" | tail -n 1 | grep -q '^-- Dump completed' || fail "The backup is not whole: compose/$file.part"
    mv "$file.part" "$file"
    echo "compose/$file"
}

sql() { # [DATABASE]: run the statements that come in, as MySQL's root
    # shellcheck disable=SC2016 # the shell in the container expands it
    compose exec -T mysql sh -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -u root "$@"' sql "$@"
}

# Removes GTIDs and SQL_LOG_BIN=0 from older backups: they tie a dump to its server and keep it from replicas.
without_gtids() {
    LC_ALL=C sed -e '/^SET @@SESSION.SQL_LOG_BIN/d' \
        -e '/^SET @@GLOBAL.GTID_PURGED/{' -e ':more' -e '/;$/d' -e 'N' -e 'b more' -e '}'
}

swap_tables() { # OUT IN: move the tables of database leads to OUT, and those of IN to leads, atomically
    moves=$(
        sql --skip-column-names <<SQL
SELECT CONCAT(table_schema, '.', table_name, ' TO ', IF(table_schema = 'leads', '$1', 'leads'), '.', table_name)
FROM information_schema.tables WHERE table_schema IN ('leads', '$2') ORDER BY table_schema != 'leads';
SQL
    ) || return 1
    echo "RENAME TABLE $(echo "$moves" | paste -sd ,)" | sql
}

# The backup is loaded into a separate database while the service runs, and replaces the present tables only when the
# load is complete. If the migrations then fail (a backup of a newer release), the present tables are put back.
restore() { # FILE
    case $1 in
    /*) file=$1 ;;
    *) file=../$1 ;;
    esac
    [ -r "$file" ] || fail "FILE=$1 cannot be read"
    gzip -dc "$file" | tail -n 1 | grep -q '^-- Dump completed' || fail "FILE=$1 is not a whole backup"
    [ -z "$(echo 'SHOW TABLES FROM leads_replaced' | sql 2>/dev/null)" ] ||
        fail "A restore was cut short: MySQL's database leads_replaced holds the tables from before it. Drop it first."
    if [ "${YES:-}" != 1 ]; then
        printf 'All leads in the database are replaced by those of %s. Go on? [y/N] ' "$1"
        read -r answer
        [ "$answer" = y ] || fail "Nothing was changed."
    fi
    for each in leads_restored leads_replaced; do
        echo "DROP DATABASE IF EXISTS $each; CREATE DATABASE $each" | sql || fail "MySQL does not answer: make start"
    done
    gzip -dc "$file" | without_gtids | sql leads_restored || {
        echo 'DROP DATABASE leads_restored' | sql || true
        fail "FILE=$1 could not be restored: MySQL says why, above. Nothing was changed, and the service goes on."
    }
    # Ignore signals until the service is started again: an interruption would leave it stopped.
    trap '' INT TERM
    compose stop beat worker api
    restored=
    if swap_tables leads_replaced leads_restored; then
        if migrate; then
            restored=1
        else
            swap_tables leads_restored leads_replaced ||
                fail "The service is stopped: the tables from before are still in MySQL's database leads_replaced."
        fi
    fi
    # The replaced tables are dropped only after a successful restore.
    echo "DROP DATABASE leads_restored; ${restored:+DROP DATABASE leads_replaced}" | sql || true
    trap - INT TERM
    start
    [ -n "$restored" ] || fail "FILE=$1 could not be restored: the reason is above. The leads from before are in place."
    echo "Restored. What waited in the queue is stored now; the ledger shows what the backup does not hold:"
    compose exec -T api python -m workers ledger || true
}
