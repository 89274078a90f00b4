"""Random scripts, run on dedicated connections and through the proxy: every answer must be the same."""
