"""`make run`: the whole service as processes of this machine, without Docker."""
