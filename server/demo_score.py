"""The five demo pieces, as scores: strings with one character or word a step.

They exist so that a fresh checkout has something to play, and so that each branch of the loudness
decision has a track that takes it: one mastered flat, one loud with its transients intact, three
quieter ones. Levels, drive and knee are set by ear and meter; `tests/server/test_demo.py` holds
the loudness and crest of the first three. How they sound is in `demo`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One line of the score.

    `line` repeats for as long as its section lasts. Drums: one character a step, ``X x o`` from loud
    to soft. Tones of the running chord: digits counted from its root, ``-`` holds. Melody: words
    such as ``Eb5`` divided by spaces, ``-`` holds. A dot rests.
    """

    instrument: str
    line: str
    level: float = 1.0
    pan: float = 0.0
    octave: int = 4
    room: float = 0.15


@dataclass(frozen=True)
class Piece:
    title: str
    tempo: float  # beats a minute; a beat is four steps
    beats: int  # to the bar
    chords: str  # one a bar, repeating
    parts: dict[str, Part]
    sections: tuple[tuple[int, str], ...]  # bars, names of the parts playing
    drive: float  # linear gain into the master's saturation
    knee: float  # level up to which the master is linear; 1 never bends
    swing: float = 0.0  # delay of every other step, in steps
    duck: float = 0.0  # how far each beat pushes the sustained parts down
    room_s: float = 1.2
    channels: int = 2


PIECES = (
    Piece(
        "Every Fader Up",
        128,
        4,
        "Am F C G",
        {
            "kick": Part("kick", "X...X...X...X...", 0.9, room=0),
            "clap": Part("snare", "....X.......X..o", 0.55, room=0.2),
            "hat": Part("hat", "o.x.o.x.o.x.o.xo", 0.3, 0.2),
            "bass": Part("bass", "..11..11..11..15", 0.6, octave=2, room=0),
            "root": Part("stack", "1---------------", 0.16),
            "third": Part("stack", "3---------------", 0.14, -0.5),
            "fifth": Part("stack", "5---------------", 0.14, 0.5),
            "arp": Part("pluck", "1358531513585315", 0.22, 0.35, 5, 0.3),
            "lead": Part(
                "lead",
                "E5 - - D5 C5 - D5 - E5 - - - . . A4 B4 C5 - - B4 A4 - C5 - F5 - - - E5 - D5 - "
                "G5 - - E5 C5 - E5 - G5 - - - . . E5 F5 D5 - - C5 B4 - D5 - G4 - - - B4 - - -",
                0.26,
                -0.1,
                room=0.3,
            ),
        },
        (
            (4, "root third fifth arp"),
            (4, "kick hat bass root third fifth arp"),
            (8, "kick clap hat bass root third fifth arp lead"),
            (2, "root third fifth lead arp"),
            (6, "kick clap hat bass root third fifth arp lead"),
        ),
        drive=1.2,
        knee=0.25,
        duck=0.6,
    ),
    Piece(
        "Hammers and Sparks",
        104,
        4,
        "Em7 Em7 A7 Am7",
        {
            "kick": Part("thump", "X..x..X...X..x..", 0.6, room=0),
            "snare": Part("crack", "....X..o.o..X..o", 1.3, room=0.02),
            "hat": Part("tick", "x.xxo.x.x.xxo.xx", 0.5, 0.4, room=0),
            "rim": Part("tick", "..X..X....X..X..", 0.5, -0.5, room=0),
            "slap": Part("slap", "1..1.8.7..1.5.78", 0.7, octave=2, room=0),
            "spark": Part("spark", "..5..8..3..7..5.", 0.7, -0.4, 5, 0.03),
            "answer": Part("spark", "8...5.3...7...8.", 0.65, 0.5, 5, 0.03),
            "break": Part("crack", "o.o.x.x.X.o.XxXX", 0.7, room=0.02),
        },
        (
            (2, "kick hat rim"),
            (4, "kick snare hat slap"),
            (6, "kick snare hat rim slap spark answer"),
            (1, "kick hat break"),
            (5, "kick snare hat rim slap spark answer"),
        ),
        drive=2.1,
        knee=0.5,
        swing=0.12,
        room_s=0.25,
    ),
    Piece(
        "Letter from the Attic",
        72,
        4,
        "Fmaj7 Em7 Dm7 Cmaj7 Fmaj7 G Am7 Am7",
        {
            "low": Part("keys", "1-------5-------", 0.5, -0.15, 3, 0.3),
            "roll": Part("keys", "..3.5.8.7.5.8.5.", 0.3, 0.15, 4, 0.35),
            "pad": Part("pad", "1---------------", 0.1, -0.3, 4, 0.3),
            "pad3": Part("pad", "3---------------", 0.1, 0.3, 4, 0.3),
            "tune": Part(
                "flute",
                "A4 - - - C5 - - E5 G5 - - - E5 - - - . . B4 - D5 - E5 - B4 - - - - - . . "
                "A4 - - - F4 - - A4 C5 - - - D5 - - - E5 - - - G4 - - - E4 - - - - - . .",
                0.3,
                0.05,
                room=0.45,
            ),
        },
        ((2, "low roll"), (2, "low roll pad pad3"), (8, "low roll pad pad3 tune"), (1, "low pad pad3")),
        drive=0.27,
        knee=1.0,
        room_s=2.2,
    ),
    Piece(
        "Carousel in the Rain",
        156,
        3,
        "Dm Dm Gm Dm Bb Gm A7 Dm",
        {
            "oom": Part("bass", "1---........", 0.5, octave=2, room=0.1),
            "pah": Part("reed", "....3-..3-..", 0.16, -0.3, 4, 0.2),
            "pah5": Part("reed", "....5-..5-..", 0.16, -0.2, 4, 0.2),
            "brush": Part("hat", "....o...o...", 0.15, 0.3),
            "box": Part(
                "box",
                "D5 - - - F5 - - - A5 - - - D6 - - - C#6 - D6 - A5 - - - Bb5 - - - A5 - G5 - D5 - - - "
                "F5 - - - E5 - - - A4 - - - D5 - - - F5 - - - Bb5 - - - A5 - - - G5 - F5 - D5 - - - "
                "C#5 - - - E5 - - - G5 - A5 - D5 - - - - - - - . . . .",
                0.4,
                0.15,
                room=0.4,
            ),
            "sigh": Part("flute", "8-----------", 0.2, 0.3, 4, 0.4),
        },
        (
            (4, "oom pah pah5"),
            (12, "oom pah pah5 box brush"),
            (8, "oom pah pah5 box brush sigh"),
            (8, "oom pah pah5 sigh box"),
        ),
        drive=0.5,
        knee=0.8,
        room_s=1.8,
    ),
    Piece(
        "One Loudspeaker Blues",
        92,
        4,
        "A7 D7 A7 A7 D7 D7 A7 A7 E7 D7 A7 E7",
        {
            "kick": Part("kick", "X.......X..o....", 0.7, room=0),
            "snare": Part("snare", "....x.......x...", 0.4, room=0.15),
            "ride": Part("hat", "x..ox..ox..ox..o", 0.2),
            "walk": Part("bass", "1---3---5---7---", 0.5, octave=2, room=0.05),
            "comp": Part("keys", "....3--.......3-", 0.25, octave=4),
            "comp7": Part("keys", "....7--.......7-", 0.25, octave=4),
            "harp": Part(
                "reed",
                "E5 - - D5 C5 - A4 - - - . . . . A4 C5 D5 - - C5 A4 - - - . . . . . . . . "
                "E5 - G5 - E5 - - D5 C5 - A4 - G4 - A4 - A4 - - - - - - - . . . . . . . .",
                0.3,
                room=0.25,
            ),
        },
        ((4, "walk ride comp comp7"), (12, "kick snare ride walk comp comp7 harp")),
        drive=0.7,
        knee=0.6,
        swing=0.3,
        channels=1,
    ),
)
