"""The streaming server: parses, decides who is asked, moves bytes. Every sample is the engine's."""
