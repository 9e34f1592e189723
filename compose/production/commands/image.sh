# shellcheck shell=sh
# The image of every process of ours.

build_image() {
    echo "Building the image"
    # Only what the image needs is sent: no secret, no data and no history can end up in it.
    arguments=
    case ${PYTHON_IMAGE:-} in
    '' | /*) ;; # a path is that of the virtual environment's Python
    *[:/]*) arguments="--build-arg PYTHON=$PYTHON_IMAGE" ;;
    *) arguments="--build-arg PYTHON=python:${PYTHON_IMAGE#python}-slim-trixie" ;;
    esac
    for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy PIP_INDEX_URL; do
        eval "[ -z \"\${$name:-}\" ] || arguments=\"\$arguments --build-arg $name\""
    done
    # shellcheck disable=SC2086
    tar -C .. --exclude=__pycache__ -cf - compose/__init__.py compose/preflight.py compose/production/Dockerfile \
        compose/production/__init__.py compose/production/__main__.py compose/production/healthcheck \
        requirements-image.lock ingest_api schema workers |
        docker build --quiet --network host --file compose/production/Dockerfile \
            --tag "lead-ingest:$(setting LEADS_VERSION latest)" $arguments - >/dev/null
}

is_outdated() { # Whether API containers run, and of another image than the one that was built
    built=$(docker image inspect --format '{{.Id}}' "lead-ingest:$(setting LEADS_VERSION latest)")
    for each in $(containers api); do
        running=$(docker inspect --format '{{if .State.Running}}{{.Image}}{{end}}' "$each")
        [ -z "$running" ] || [ "$running" = "$built" ] || return 0
    done
    return 1
}
