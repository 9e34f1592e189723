# shellcheck shell=sh
# Docker Swarm: services, deployed in the order that a release needs (docs/adr/0011).

make_image() {
    # New passwords in another manager's clone would replace those of a service that runs.
    [ -e "$ENV_FILE" ] || ! docker service inspect "${PROJECT}_api" >/dev/null 2>&1 ||
        fail "$PROJECT runs in this Swarm, and its secrets are not here. Bring compose/$ENV_FILE, compose/keys, compose/tls" \
            "and compose/stack.yml from where it was deployed; or name this one otherwise (LEADS_PROJECT=...)"
    make_secrets
    build_image
    built=$(docker image inspect --format '{{.Id}}' "lead-ingest:$(setting LEADS_VERSION latest)")
    # Swarm replaces a service whose image has another name: one for each build.
    registry=$(setting LEADS_REGISTRY '')
    [ -z "$registry" ] || save_setting LEADS_REGISTRY "$registry"
    image=${registry:+$registry/}lead-ingest:$(echo "${built#*:}" | cut -c 1-12)
    docker tag "$built" "$image"
    [ -z "$registry" ] || docker push --quiet "$image"
    save_setting LEADS_IMAGE "$image"
    echo "The image is $image."
    [ -n "$registry" ] || echo "LEADS_REGISTRY is not set: each host needs it (docker save $image | ssh HOST docker load)."
}

# Without what `docker stack deploy` refuses (numbers as texts, CPUs as numbers, the project's name), and the values that
# services refer to. Docker 20.10's client takes no file without a version, and newer ones pass over it.
render() { # [SERVICE...]: print the stack file
    set -- --project-name "$PROJECT" --env-file "$ENV_FILE" --project-directory . \
        --file production/compose.yml --file production/compose.swarm.yml \
        ${TLS_FILE:+--file "$TLS_FILE"} --file "$NAMES_FILE" ${OWN_FILE:+--file "$OWN_FILE"} config "$@"
    # Nothing when Compose has failed: a version alone would be a stack.
    docker compose "$@" |
        awk 'NR == 1 { print "version: \"3.9\"" } /^[^ ]/ { left_out = /^(name:|version:|x-)/ } !left_out' |
        sed -E -e 's/^( *(published|size|mode): )"([0-9]*)"$/\1\3/' -e 's/^( *cpus: )([0-9.]+)$/\1"\2"/'
}

own_mysql() {
    [ -z "$(setting STACK_MYSQL '')" ]
}

own_redis() {
    [ -z "$(setting STACK_REDIS '')" ]
}

# The services of this installation: Redis and MySQL may be elsewhere.
servers() {
    ! own_mysql || echo mysql
    ! own_redis || echo redis
}

put() { # SERVICE...: deploy them
    how="--resolve-image never"
    [ -z "$(setting LEADS_REGISTRY '')" ] || how="--resolve-image changed --with-registry-auth"
    # It warns of `restart` and `security_opt`, which Swarm does not have, at each call.
    # shellcheck disable=SC2086 # words, not one argument
    said=$(render "$@" | docker stack deploy $how --compose-file - "$PROJECT" 2>&1) || fail "$said"
}

put_and_wait() { # SERVICE...
    echo "Deploying $*"
    wait_for_updates "$@"
    put "$@"
    wait_until_settled "$@"
}

# A change during an update would take the place of the description that Swarm goes back to.
wait_for_updates() { # SERVICE...
    deadline=$(($(date +%s) + READY_TIMEOUT))
    for service; do
        while :; do
            case $(update_state "$service" 2>/dev/null) in
            updating | rollback_started) ;;
            *) break ;;
            esac
            [ "$(date +%s)" -lt "$deadline" ] || fail "The update of $service does not end: docker service ps --no-trunc ${PROJECT}_$service"
            sleep 1
        done
    done
}

wait_until_settled() { # SERVICE...
    deadline=$(($(date +%s) + READY_TIMEOUT))
    for service; do
        until is_settled "$service"; do
            case $(update_state "$service") in
            rollback_started | rollback_completed)
                show_failures "$service"
                fail "$service failed, and Swarm took it back to what it was: docker service logs ${PROJECT}_$service"
                ;;
            *paused)
                show_failures "$service"
                fail "The update of $service is paused: docker service ps --no-trunc ${PROJECT}_$service says why. Mend it," \
                    "then make stack."
                ;;
            esac
            [ "$(date +%s)" -lt "$deadline" ] || fail "$service is not healthy: docker service ps --no-trunc ${PROJECT}_$service"
            sleep 1
        done
    done
}

show_failures() { # SERVICE
    docker service ps --no-trunc --filter desired-state=shutdown --format '{{.Name}}  {{.CurrentState}}  {{.Error}}' \
        "${PROJECT}_$1" | head -n 3 >&2
}

update_state() { # SERVICE
    docker service inspect --format '{{with .UpdateStatus}}{{.State}}{{end}}' "${PROJECT}_$1"
}

tasks() { # SERVICE: the ids of those that shall run
    docker service ps --quiet --no-trunc --filter desired-state=running "${PROJECT}_$1"
}

# Whether as many tasks run as shall, each of the service's present description. An update is not over before its monitor is.
is_settled() { # SERVICE
    case $(update_state "$1") in
    '' | completed) ;;
    *) return 1 ;;
    esac
    tasks=$(tasks "$1")
    [ -n "$tasks" ] || {
        [ "$(docker service inspect --format '{{with .Spec.Mode.Replicated}}{{.Replicas}}{{end}}' "${PROJECT}_$1")" = 0 ]
        return
    }
    fields='{{json .Resources}} {{with .ContainerSpec}}{{.Image}} {{json .Args}} {{json .Env}} {{json .Secrets}}
        {{- json .Configs}} {{json .Healthcheck}} {{json .Mounts}}{{end}}'
    wanted=$(docker service inspect --format "{{with .Spec.TaskTemplate}}$fields{{end}}" "${PROJECT}_$1")
    # shellcheck disable=SC2086 # words, not one argument
    docker inspect --type task --format "{{.Status.State}} {{with .Spec}}$fields{{end}}" $tasks |
        grep -vqxF "running $wanted" && return 1
    # More while a host is lost: those on it count as running until it is back.
    docker service ls --filter "name=${PROJECT}_$1" --format '{{.Name}} {{.Replicas}}' |
        awk -v name="${PROJECT}_$1" '$1 == name { split($2, n, "/"); found = n[1] + 0 >= n[2] + 0 } END { exit !found }'
}

run_job() { # SERVICE [--before]: run it once, and remove it; show what it said when it fails
    echo "Running $*"
    STACK_STEP=${2:-}
    export STACK_STEP
    # What a deployment that was cut short has left.
    remove "$1"
    put "$1"
    deadline=$(($(date +%s) + READY_TIMEOUT))
    while :; do
        case $(docker service ps --format '{{.CurrentState}}' "${PROJECT}_$1" | head -n 1) in
        Complete*)
            remove "$1"
            return 0
            ;;
        Failed* | Rejected* | Orphaned*)
            docker service logs --raw --tail 5 "${PROJECT}_$1" >&2
            docker service ps --no-trunc --format '{{.Error}}' "${PROJECT}_$1" >&2
            remove "$1"
            return 1
            ;;
        esac
        [ "$(date +%s)" -lt "$deadline" ] || fail "$1 does not end: docker service ps --no-trunc ${PROJECT}_$1"
        sleep 1
    done
}

remove() { # SERVICE
    docker service rm "${PROJECT}_$1" >/dev/null 2>&1 || true
}

accounts() { # [--before]
    ! own_mysql || run_job accounts "$@"
}

label_hosts() { # HOST...: they run the service; the first has Redis and MySQL, unless another one has them already
    for host; do
        docker node update --label-add lead-ingest.host=yes "$host" >/dev/null || fail "$host is no node: docker node ls"
    done
    for server in mysql redis; do
        [ $# -eq 0 ] || [ -n "$(docker node ls --quiet --filter "node.label=lead-ingest.$server=yes")" ] ||
            docker node update --label-add "lead-ingest.$server=yes" "$1" >/dev/null
    done
    [ -n "$(docker node ls --quiet --filter node.label=lead-ingest.host=yes)" ] ||
        fail "No node is to run the service: make stack HOSTS=\"NODE NODE NODE\""
}

deploy() { # [HOST...]
    docker node ls --quiet >/dev/null || fail "Nothing was deployed."
    label_hosts "$@"
    make_objects
    # shellcheck disable=SC2046 # words, not one argument
    [ -z "$(servers)" ] || put_and_wait $(servers)
    if docker service inspect "${PROJECT}_api" >/dev/null 2>&1; then
        before=--before
    fi
    # shellcheck disable=SC2086 # a word or none
    { accounts --before && run_job migrate ${before:-} && accounts; } || fail "The service was not changed."
    put_and_wait api
    put_and_wait worker
    put_and_wait beat flower nginx
    [ -z "${before:-}" ] || { run_job migrate && accounts; } || fail "The new release runs, but the tables are not up to date."
    echo "Lead Ingest is ready on port $(setting LEADS_PUBLIC_PORT 8080) of each host."
}

scale() { # api=N worker=N
    [ $# -gt 0 ] || fail "api=N or worker=N"
    for each; do
        case ${each#*=} in
        '' | *[!0-9]* | 0) fail "${each%%=*}=${each#*=}: a number of tasks from 1" ;;
        esac
        case $each in
        api=*) save_setting API_REPLICAS "${each#*=}" ;;
        worker=*) save_setting WORKER_REPLICAS "${each#*=}" ;;
        *) fail "api=N or worker=N" ;;
        esac
    done
    # Not the stack file, which may name an image that is not deployed yet.
    for each; do
        wait_for_updates "${each%%=*}"
        docker service scale --detach "${PROJECT}_$each" >/dev/null || fail "${each%%=*} was not scaled."
    done
    for each; do
        wait_until_settled "${each%%=*}"
    done
}
