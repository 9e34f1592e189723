"""Monitoring with Prometheus, Alertmanager and Grafana, and the reference of the metrics."""
