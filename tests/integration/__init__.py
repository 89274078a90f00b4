"""The proxy as its users see it: a process, real servers behind it, real drivers before it."""
