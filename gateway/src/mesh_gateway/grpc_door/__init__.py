"""The gRPC door: every method of the services behind the gateway, as bytes, after admission."""
