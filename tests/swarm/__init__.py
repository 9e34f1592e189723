"""A Docker Swarm of three engines, which `make stack` deploys to: real containers, networks and failures."""
