"""What commands do: :mod:`.running` for the job's process, :mod:`.moving` for its files and checkpoints."""
