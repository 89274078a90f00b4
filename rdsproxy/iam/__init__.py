"""Clients who prove who they are by an IAM token instead of a password."""
