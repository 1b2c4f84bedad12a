PRAGMA application_id = 1096110657;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE fingerprints (
    track_id INTEGER PRIMARY KEY REFERENCES tracks (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source <> ''),
    computed_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sub_bass_pct REAL NOT NULL CHECK (sub_bass_pct BETWEEN 0.0 AND 1.0),
    bass_pct REAL NOT NULL CHECK (bass_pct BETWEEN 0.0 AND 1.0),
    low_mid_pct REAL NOT NULL CHECK (low_mid_pct BETWEEN 0.0 AND 1.0),
    mid_pct REAL NOT NULL CHECK (mid_pct BETWEEN 0.0 AND 1.0),
    upper_mid_pct REAL NOT NULL CHECK (upper_mid_pct BETWEEN 0.0 AND 1.0),
    presence_pct REAL NOT NULL CHECK (presence_pct BETWEEN 0.0 AND 1.0),
    air_pct REAL NOT NULL CHECK (air_pct BETWEEN 0.0 AND 1.0),
    lufs REAL NOT NULL CHECK (lufs BETWEEN -70.0 AND 5.0),
    crest_db REAL NOT NULL CHECK (crest_db BETWEEN 0.0 AND 40.0),
    bass_mid_ratio REAL NOT NULL CHECK (bass_mid_ratio BETWEEN -30.0 AND 30.0),
    tempo_bpm REAL NOT NULL CHECK (tempo_bpm BETWEEN 0.0 AND 210.0),
    rhythm_stability REAL NOT NULL CHECK (rhythm_stability BETWEEN 0.0 AND 1.0),
    transient_density REAL NOT NULL CHECK (transient_density BETWEEN 0.0 AND 1.0),
    silence_ratio REAL NOT NULL CHECK (silence_ratio BETWEEN 0.0 AND 1.0),
    spectral_centroid REAL NOT NULL CHECK (spectral_centroid BETWEEN 0.0 AND 1.0),
    spectral_rolloff REAL NOT NULL CHECK (spectral_rolloff BETWEEN 0.0 AND 1.0),
    spectral_flatness REAL NOT NULL CHECK (spectral_flatness BETWEEN 0.0 AND 1.0),
    harmonic_ratio REAL NOT NULL CHECK (harmonic_ratio BETWEEN 0.0 AND 1.0),
    pitch_stability REAL NOT NULL CHECK (pitch_stability BETWEEN 0.0 AND 1.0),
    chroma_energy REAL NOT NULL CHECK (chroma_energy BETWEEN 0.0 AND 1.0),
    dynamic_range_variation REAL NOT NULL CHECK (dynamic_range_variation BETWEEN 0.0 AND 1.0),
    loudness_variation_std REAL NOT NULL CHECK (loudness_variation_std BETWEEN 0.0 AND 10.0),
    peak_consistency REAL NOT NULL CHECK (peak_consistency BETWEEN 0.0 AND 1.0),
    stereo_width REAL NOT NULL CHECK (stereo_width BETWEEN 0.0 AND 1.0),
    phase_correlation REAL NOT NULL CHECK (phase_correlation BETWEEN -1.0 AND 1.0),
    carried TEXT NOT NULL CHECK (json_valid(carried))
) STRICT;
INSERT INTO "fingerprints" VALUES(1,1,'local',1700000000,1000,1700000000123456789,3.11831452010485454806e-01,4.23326448972575652973e-01,8.27702593820441756555e-01,4.09199136369161275972e-01,5.49593687673059494436e-01,2.75591132430683671827e-02,7.53513108674806586506e-01,-2.96392515085541319308e+01,1.31892686599636874686e+01,1.73057222057042565661e+01,6.36709141512454479538e+01,4.53497889480651505955e-01,1.34041697247164748318e-01,4.03112986447129229006e-01,2.03455240676149617939e-01,2.62313340441849507378e-01,7.50364672630052575996e-01,2.80408757986039924858e-01,4.85190974431635058117e-01,9.80737199801238634933e-01,9.61657193663786769022e-01,7.24789940773533647444e+00,5.41226855547434215765e-01,2.76891204045370820097e-01,-6.78695982449746271214e-01,'{"version": 1, "duration": 3.0, "frames": 132300, "sample_rate": 44100, "channels": 2, "extras": {"true_peak_dbtp": 0.5, "sample_peak_dbfs": 0.5, "loudness_range": 0.5, "momentary_max": 0.5, "short_term_max": 0.5, "plr_db": 0.5, "tempo_alt": 0.5, "tempo_confidence": 0.5, "flat_top_longest": 0.5, "flat_top_share": 0.5, "peak_curvature": 0.5, "non_finite_samples": 0.5, "ltas_db": [-30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0, -30.0], "histogram": "eNrtyUERwCAUQ8G2SKmI6sQLgxd0YKCHHwdcdy9vJln3VZ7KTmervrl7+mUfKQAAAAAAAAAAAAAAAAAAAHDuB6DvBDA="}, "flags": []}');
CREATE TABLE tracks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE CHECK (path <> ''),
    title TEXT NOT NULL,
    artist TEXT NOT NULL,
    album TEXT NOT NULL,
    words TEXT NOT NULL,
    frames INTEGER NOT NULL CHECK (frames > 0),
    sample_rate INTEGER NOT NULL CHECK (sample_rate > 0),
    channels INTEGER NOT NULL CHECK (channels > 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    reason TEXT CHECK ((reason IS NOT NULL) = (status = 'failed'))
) STRICT;
INSERT INTO "tracks" VALUES(1,'/music/one.flac','One','Jemand','Platte','one
jemand
platte',132300,44100,2,1000,1700000000123456789,'ready',NULL);
INSERT INTO "tracks" VALUES(2,'/music/two.flac','Two','Jemand','Platte','two
jemand
platte',132300,44100,2,2000,1700000000123456790,'failed','truncated');
INSERT INTO "tracks" VALUES(3,'/music/three.flac','Three','','','three

',132300,44100,2,3000,1700000000123456791,'pending',NULL);
CREATE INDEX tracks_by_name ON tracks (artist, album, path);
CREATE INDEX tracks_by_content ON tracks (size, mtime_ns);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tracks',3);
COMMIT;
