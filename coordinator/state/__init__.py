"""The coordinator's memory: frozen records in, frozen records out; rows and SQL end here."""
