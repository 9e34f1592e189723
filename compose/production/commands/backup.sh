# shellcheck shell=sh
# Backups of MySQL, and their restore.

backup() {
    # One snapshot, which does not block the workers. No GTIDs, so that any server can restore it.
    # shellcheck disable=SC2016 # the shell in the container expands it
    compose exec -T mysql sh -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysqldump -u root --single-transaction --quick \
        --set-gtid-purged=OFF --hex-blob --no-tablespaces "$MYSQL_DATABASE"' | keep_backup
}

sql() { # [DATABASE]: run the statements that come in, as MySQL's root
    # shellcheck disable=SC2016 # the shell in the container expands it
    compose exec -T mysql sh -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -u root "$@"' sql "$@"
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
    file=$(whole_backup "$1")
    # A MySQL that lost its volume has no accounts yet, so workers do not store the backlog in what the restore replaces.
    up --no-recreate mysql redis
    wait_until_healthy mysql redis
    [ -z "$(echo 'SHOW TABLES FROM leads_replaced' | sql 2>/dev/null)" ] ||
        fail "A restore was cut short: MySQL's database leads_replaced holds the tables from before it. Drop it first."
    ask_for_replacement "$1"
    for each in leads_restored leads_replaced; do
        echo "DROP DATABASE IF EXISTS $each; CREATE DATABASE $each" | sql || fail "MySQL does not answer."
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
