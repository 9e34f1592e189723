# shellcheck shell=sh
# Prometheus, Alertmanager and Grafana.

monitoring() {
    # Grafana separately, so that the alerts run even if its image cannot be pulled.
    compose --profile monitoring up -d --no-build prometheus alertmanager
    if compose --profile grafana up -d --no-build grafana; then
        echo "Grafana   http://127.0.0.1:$(setting LEADS_PUBLIC_GRAFANA_PORT 3000)   (user admin, password GRAFANA_PASSWORD in compose/$ENV_FILE)"
    else
        echo "Grafana did not start; Prometheus and Alertmanager run without it." >&2
    fi
}

# Replaces outdated containers of running services; stopped ones stay stopped.
update_monitoring() {
    for service in prometheus alertmanager grafana; do
        [ -z "$(containers "$service")" ] ||
            compose --profile monitoring --profile grafana up -d --no-build "$service" ||
            echo "$service was not brought up to date." >&2
    done
}
