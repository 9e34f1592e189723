"""What watches the service and documents its metrics: Prometheus, Alertmanager and Grafana."""
