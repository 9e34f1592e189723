# shellcheck shell=sh
# The accounts of MySQL and the users of Redis: one for each service, with what it needs.

# Passwords that no account of the services' may do without.
SECRETS="MYSQL_API_PASSWORD MYSQL_WORKER_PASSWORD MYSQL_MIGRATE_PASSWORD
    REDIS_API_PASSWORD REDIS_WORKER_PASSWORD REDIS_FLOWER_PASSWORD REDIS_MIGRATE_PASSWORD"

complain() {
    echo "$*" >&2
    return 1
}

check_secrets() {
    for name in $SECRETS; do
        case $(setting "$name" '') in
        *[!A-Za-z0-9._~-]*) complain "$name: only letters, digits and ._~- need no escaping in a URL, SQL and Redis's file" || return ;;
        ????????????*) ;;
        *) complain "$name: the password has less than 12 characters" || return ;;
        esac
    done
}

with_secrets() { # COMMAND...: run it with the secrets in its environment
    (
        for name in $SECRETS REDIS_PASSWORD; do
            export "$name=$(setting "$name" '')"
        done
        "$@"
    )
}

# Of a session whose changes stay on this server: a replica has accounts of its own.
UNLOGGED="--init-command=SET SESSION sql_log_bin = 0"

# What runs gets them as well, so that a new release's services find theirs before MySQL and Redis are replaced.
make_accounts() {
    {
        # The image makes it. root comes from within MySQL's container alone.
        echo "DROP USER IF EXISTS root@'%';"
        with_secrets sh production/mysql/accounts
    } | sql "$UNLOGGED" || complain "MySQL's accounts were not made." || return
    said=$(with_secrets sh production/redis/users | sed 's/^user \([a-z]*\)/ACL SETUSER \1 reset/' |
        compose exec -T redis redis-cli) || complain "Redis does not answer." || return
    # redis-cli ends well whatever Redis answers to lines that it reads.
    ! echo "$said" | grep -vx -e OK -e '' || complain "Redis's users were not made."
}

grant() { # Once the tables are there
    sql "$UNLOGGED" <production/mysql/grants.sql || complain "MySQL's accounts did not get their rights."
}

# Release 0.1 had one account for all. Locked, not dropped: docs/operations.md says how to go back.
lock_old_account() {
    [ "$(echo "SELECT COUNT(*) FROM mysql.user WHERE user = 'leads'" | sql --skip-column-names)" = 0 ] ||
        echo "ALTER USER leads ACCOUNT LOCK" | sql "$UNLOGGED"
}
