"""Programs that use the proxy as applications do: drivers and object-relational mappers of seven languages."""
