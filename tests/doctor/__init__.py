"""Each link that ``rdsproxy doctor`` looks at, broken for real."""
