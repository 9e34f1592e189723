"""Runs the service's processes together: locally (`make run`) and in containers."""
