"""IAM tokens."""
