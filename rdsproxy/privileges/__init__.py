"""The least that a configuration needs: of the database as SQL, of AWS as an IAM policy."""
