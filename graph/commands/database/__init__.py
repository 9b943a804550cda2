"""Commands on Howdah's own database: migrations, backups, keys, and the installation."""
