"""The Helm chart: what it renders, what it refuses, and what a real Kubernetes API makes of it."""
