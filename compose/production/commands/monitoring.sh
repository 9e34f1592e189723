# shellcheck shell=sh
# Prometheus, Alertmanager and Grafana.

monitoring() {
    # Grafana apart: when its image cannot be had, the alerts run all the same.
    compose --profile monitoring up -d --no-build --no-recreate prometheus alertmanager
    if compose --profile grafana up -d --no-build --no-recreate grafana; then
        echo "Grafana   http://127.0.0.1:$(setting LEADS_PUBLIC_GRAFANA_PORT 3000)   (user admin, password GRAFANA_PASSWORD in compose/$ENV_FILE)"
    else
        echo "Grafana did not start; Prometheus and Alertmanager run without it." >&2
    fi
}
