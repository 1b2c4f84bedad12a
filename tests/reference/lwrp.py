"""The 2-D restraint rule, written from its table."""


def decide(lufs: float, crest_db: float) -> tuple[str, float, float]:
    if lufs <= -12.0:
        return "quiet", 0.0, 0.0
    if crest_db >= 13.0:
        return "dynamic_loud", 0.0, 0.0
    return "compressed_loud", min(max((13.0 - crest_db) / 10.0, 0.1), 1.0), -0.5
