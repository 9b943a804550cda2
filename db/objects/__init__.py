"""The object store: a local folder, S3, Google Cloud Storage or Azure."""
