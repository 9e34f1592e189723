"""Black box tests: the really started service, over HTTP. Nothing in here imports any of ours."""
