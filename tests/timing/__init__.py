"""What the time of a refusal tells about who exists."""
