"""Units, accounts, folders and example configuration; `heliotrope install` puts them in place (docs/install.md)."""
