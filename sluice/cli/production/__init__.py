"""The commands about releases and production traffic: serve, release, rollout."""
