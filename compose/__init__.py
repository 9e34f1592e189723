"""How the service is put together from its processes: locally (`make run`) and in containers."""
