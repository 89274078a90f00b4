"""Look at each link of a proxy's chain, by the proxy's own code, and say what to do about those that are broken."""
