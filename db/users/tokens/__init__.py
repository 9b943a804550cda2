"""Access and refresh tokens: signed, verified, and those of an external issuer."""
