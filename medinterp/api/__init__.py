"""The HTTP API without its server: schema, encodings, problems, report store and routes."""
