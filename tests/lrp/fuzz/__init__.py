"""Random small networks against an oracle of dense algebra."""
