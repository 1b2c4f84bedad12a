"""The generator's protocol: the proto, what protoc made of it, and what both ends agree on beyond it."""
