# shellcheck shell=sh
# The image of the API, worker, beat and Flower containers.

build_image() {
    echo "Building the image"
    # An explicit build context, so that no secret, data or history can end up in the image.
    arguments=
    case ${PYTHON_IMAGE:-} in
    '' | /*) ;; # a path is the virtual environment's Python, no image
    *[:/]*) arguments="--build-arg PYTHON=$PYTHON_IMAGE" ;;
    *) arguments="--build-arg PYTHON=python:${PYTHON_IMAGE#python}-slim-trixie" ;;
    esac
    for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy PIP_INDEX_URL; do
        eval "[ -z \"\${$name:-}\" ] || arguments=\"\$arguments --build-arg $name\""
    done
    # shellcheck disable=SC2086 # words, not one argument
    tar -C .. --exclude=__pycache__ -cf - compose/__init__.py compose/preflight.py compose/production/Dockerfile \
        compose/production/__init__.py compose/production/__main__.py compose/production/rollout.py compose/production/healthcheck \
        requirements-image.lock ingest_api schema workers |
        docker build --quiet --network host --file compose/production/Dockerfile \
            --tag "lead-ingest:$(setting LEADS_VERSION latest)" $arguments - >/dev/null
}

is_outdated() { # Whether a container of ours runs another image than the one just built, after an upgrade cut short too
    built=$(docker image inspect --format '{{.Id}}' "lead-ingest:$(setting LEADS_VERSION latest)")
    for each in $(containers api) $(containers worker) $(containers beat); do
        running=$(docker inspect --format '{{if .State.Running}}{{.Image}}{{end}}' "$each")
        [ -z "$running" ] || [ "$running" = "$built" ] || return 0
    done
    return 1
}
