"""A limit, not a peer: a Falcon route that reads the body and answers a constant, on our own server."""
