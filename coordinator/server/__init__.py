"""gRPC: messages end here, records begin."""
