# shellcheck shell=sh
# compose/production.env: reading and writing its settings, and the secrets that the first build generates.

setting() { # NAME DEFAULT: the environment's value, or the file's
    eval "value=\${$1:-}"
    [ -n "$value" ] || value=$(sed -n "s/^$1=//p" "$ENV_FILE" 2>/dev/null | tail -n 1)
    printf '%s\n' "${value:-$2}"
}

save_setting() { # NAME VALUE: write it into the file
    draft=$(mktemp ./.production.XXXXXX)
    sed "/^$1=/d" "$ENV_FILE" >"$draft"
    printf '%s=%s\n' "$1" "$2" >>"$draft"
    chmod 600 "$draft"
    mv "$draft" "$ENV_FILE"
}

random_hex() { # BYTES random bytes in hexadecimal, which needs no escaping in a URL or a shell
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# An installation of an earlier release lacks those that came later.
add_secrets() {
    for name in $SECRETS; do
        grep -q "^$name=" "$ENV_FILE" || {
            eval "value=\${$name:-}"
            save_setting "$name" "${value:-$(random_hex 20)}"
        }
    done
}

make_secrets() {
    if [ -e "$ENV_FILE" ]; then
        add_secrets
        return 0
    fi
    if docker volume inspect "${PROJECT}_mysql" >/dev/null 2>&1; then
        fail "Docker keeps the data of an installation named $PROJECT, and its secrets are not here. Put its" \
            "compose/$ENV_FILE back; or name this one otherwise (LEADS_PROJECT=...); or, if that data is of no use" \
            "any more: docker volume rm \$(docker volume ls -q --filter label=com.docker.compose.project=$PROJECT)"
    fi
    echo "Writing compose/$ENV_FILE with random secrets"
    draft=$(mktemp ./.production.XXXXXX)
    cat >"$draft" <<FILE
# The secrets of this installation, made by make build. Keep a copy in a safe place, and keep it out of git.
# Any setting of compose.yml's may be added here, and any LEADS_ setting of docs/configuration.md that it passes on.
MYSQL_ROOT_PASSWORD=$(random_hex 20)
REDIS_PASSWORD=$(random_hex 20)
LEADS_FIRST_USER=${LEADS_FIRST_USER:-admin@example.com}
LEADS_FIRST_PASSWORD=${LEADS_FIRST_PASSWORD:-$(random_hex 12)}
LEADS_FLOWER_USER=${LEADS_FLOWER_USER:-admin}
LEADS_FLOWER_PASSWORD=${LEADS_FLOWER_PASSWORD:-$(random_hex 12)}
GRAFANA_PASSWORD=$(random_hex 12)
API_REPLICAS=${API:-2}
WORKER_REPLICAS=${WORKERS:-2}
FILE
    # Settings given in the environment at the first build are kept in the file.
    # shellcheck disable=SC2016 # it is looked for as it stands
    names=$(grep -oh '\${[A-Z_]*' production/compose.yml production/compose.tls.yml | cut -c 3- | sort -u)
    for name in $names LEADS_TLS LEADS_PROJECT LEADS_READY_TIMEOUT LEADS_REGISTRY STACK_REDIS STACK_MYSQL; do
        eval "value=\${$name:-}"
        if [ -n "$value" ] && ! grep -q "^$name=" "$draft"; then
            case $value in
            *[!A-Za-z0-9._:/@,+=%?~-]*) fail "$name: only letters, digits and ._:/@,+=%?~- can be kept in compose/$ENV_FILE" ;;
            esac
            echo "$name=$value" >>"$draft"
        fi
    done
    chmod 600 "$draft"
    mv "$draft" "$ENV_FILE"
    add_secrets
}
