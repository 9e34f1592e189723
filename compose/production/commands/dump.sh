# shellcheck shell=sh
# Files of backups: what is alike in Compose and in Docker Swarm.

keep_backup() { # write the dump that comes in into a file, and print the file's name
    umask 077
    mkdir -p backups
    file=backups/leads-$(date -u +%Y%m%dT%H%M%SZ).sql.gz
    gzip >"$file.part"
    is_whole "$file.part" || fail "The backup is not whole: compose/$file.part"
    mv "$file.part" "$file"
    echo "compose/$file"
}

# mysqldump's last line shows that the dump is complete; a pipe's status does not.
is_whole() { # FILE
    gzip -t "$1" && gzip -dc "$1" | tail -n 1 | grep -q '^-- Dump completed'
}

whole_backup() { # FILE, as seen from the repository: print where it is, when it is whole
    case $1 in
    /*) place=$1 ;;
    *) place=../$1 ;;
    esac
    [ -r "$place" ] || fail "FILE=$1 cannot be read"
    is_whole "$place" || fail "FILE=$1 is not a whole backup"
    echo "$place"
}

ask_for_replacement() { # FILE
    [ "${YES:-}" != 1 ] || return 0
    printf 'All leads in the database are replaced by those of %s. Go on? [y/N] ' "$1"
    read -r answer || true
    [ "$answer" = y ] || fail "Nothing was changed."
}

# Removes GTIDs and SQL_LOG_BIN=0 from older backups: they tie a dump to its server and keep it from replicas.
without_gtids() {
    LC_ALL=C sed -e '/^SET @@SESSION.SQL_LOG_BIN/d' \
        -e '/^SET @@GLOBAL.GTID_PURGED/{' -e ':more' -e '/;$/d' -e 'N' -e 'b more' -e '}'
}
