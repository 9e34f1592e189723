# shellcheck shell=sh
# Docker Swarm: the keys of the tokens, and Swarm's secrets and configs. None of them can be changed, so that each has a
# digest of what is in it in its name, and a service that gets another one is replaced.

# The files of compose/production that become configs.
CONFIGS="nginx/errors.conf nginx/headers.conf nginx/nginx.conf nginx/redirect.conf nginx/site.conf nginx/start
    nginx/tls.conf nginx/upstream-each-request.conf nginx/upstream-resolving.conf
    mysql/accounts mysql/apply mysql/grants.sql redis/start redis/users"

make_keys() {
    [ -e keys/jwt-private.pem ] || {
        command -v openssl >/dev/null || fail "openssl is not installed: it makes the key that signs tokens."
        echo "Making compose/keys/jwt-private.pem, the key that signs tokens" >&2
        (
            umask 077
            mkdir -p keys/accepted
            openssl genrsa -out keys/.draft 2048 2>/dev/null
        )
        mv keys/.draft keys/jwt-private.pem
    }
    openssl rsa -in keys/jwt-private.pem -pubout -out keys/jwt-public.pem 2>/dev/null ||
        fail "compose/keys/jwt-private.pem is no private key"
}

# A value of its own, since a changed one replaces every service.
make_digest_key() {
    [ -n "$(setting STACK_DIGEST_KEY '')" ] || save_setting STACK_DIGEST_KEY "$(random_hex 20)"
}

digest() {
    sha256sum | cut -c 1-10
}

# The file cannot hold every character: Compose and a shell read it, too.
check_others() {
    for name in MYSQL_ROOT_PASSWORD REDIS_PASSWORD LEADS_FIRST_PASSWORD LEADS_FLOWER_PASSWORD; do
        case $(setting "$name" '') in
        *[[:space:]\"\'\`\\\#\$]*) fail "$name: no quotes, backslashes, spaces, # or \$ in compose/$ENV_FILE" ;;
        esac
    done
}

# A guessed secret cannot be checked against its name, for the key that is in the digest.
secret() { # NAME, its value on standard input: make it, and print its line for the file of names
    value=$(cat)
    [ -n "$value" ] || fail "$1 is empty: see compose/$ENV_FILE"
    name=$PROJECT-$1-$(printf '%s\n%s' "$(setting STACK_DIGEST_KEY '')" "$value" | digest)
    docker secret inspect "$name" >/dev/null 2>&1 ||
        printf '%s\n' "$value" | docker secret create --label "com.docker.stack.namespace=$PROJECT" "$name" - >/dev/null
    echo "  $1: {name: $name, external: true}"
}

config() { # NAME FILE: print its line for the file of names
    echo "  $1: {name: $PROJECT-$1-$(digest <"$2"), file: ./$2}"
}

redis_url() { # USER PASSWORD: STACK_REDIS with them
    place=$(setting STACK_REDIS redis://redis:6379/0)
    echo "${place%%://*}://$1:$2@${place#*://}"
}

database_url() { # USER PASSWORD
    echo "mysql+pymysql://$1:$2@$(mysql_place)/leads"
}

# Makes them, and writes the file of their names, which is merged over the others.
make_objects() {
    check_secrets || fail "Nothing was deployed."
    check_others
    make_digest_key
    make_keys
    LEADS_IMAGE=$(setting LEADS_IMAGE '')
    [ -n "$LEADS_IMAGE" ] || fail "There is no image: run make image."
    export LEADS_IMAGE
    trap 'rm -f "$NAMES_FILE"' EXIT
    {
        echo "secrets:"
        for name in MYSQL_ROOT_PASSWORD REDIS_PASSWORD LEADS_FIRST_PASSWORD LEADS_FLOWER_PASSWORD $SECRETS; do
            setting "$name" '' | secret "$name"
        done
        for service in api worker flower migrate; do
            upper=$(echo $service | tr '[:lower:]' '[:upper:]')
            redis_url "$service" "$(setting "REDIS_${upper}_PASSWORD" '')" | secret "$service-redis-url"
            [ $service = flower ] ||
                database_url "leads_$service" "$(setting "MYSQL_${upper}_PASSWORD" '')" | secret "$service-database-url"
        done
        secret jwt-private.pem <keys/jwt-private.pem
        [ -z "$(setting LEADS_DATABASE_READ_URL '')" ] ||
            setting LEADS_DATABASE_READ_URL '' | secret api-database-read-url
        [ -z "$(setting LEADS_WORKER_DATABASE_READ_URL '')" ] ||
            setting LEADS_WORKER_DATABASE_READ_URL '' | secret worker-database-read-url
        ! has_tls || secret tls-privkey.pem <tls/privkey.pem
        echo "configs:"
        for each in $CONFIGS; do
            config "$(echo "$each" | tr / -)" "production/$each"
        done
        config jwt-public.pem keys/jwt-public.pem
        ! has_tls || config tls-fullchain.pem tls/fullchain.pem
        for each in keys/accepted/*.pem; do
            [ ! -e "$each" ] || config "accepted-${each##*/}" "$each"
        done
        echo "services:"
        echo "  api:"
        read_url api LEADS_DATABASE_READ_URL
        echo "    configs:"
        echo "      - {source: jwt-public.pem, target: /etc/lead-ingest/keys/jwt-public.pem}"
        for each in keys/accepted/*.pem; do
            [ ! -e "$each" ] || echo "      - {source: accepted-${each##*/}, target: /etc/lead-ingest/keys/${each##*/}}"
        done
        echo "  worker:"
        read_url worker LEADS_WORKER_DATABASE_READ_URL
    } >"$NAMES_FILE"
}

read_url() { # SERVICE NAME: print the lines that give the service the URL of a replica, which may be empty
    if [ -n "$(setting "$2" '')" ]; then
        echo "    environment: {LEADS_DATABASE_READ_URL_FILE: /run/secrets/database-read-url}"
        echo "    secrets: [{source: $1-database-read-url, target: database-read-url}]"
    else
        echo "    environment: {}"
    fi
}

has_tls() {
    [ "$(setting LEADS_TLS 0)" = 1 ]
}
