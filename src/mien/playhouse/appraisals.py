"""What appraisals and cues say of emotions: the tables behind the rules of Playhouse.

A table gives weights as text such as "Happ 3 Plea 2.4". Each name is the beginning of one EMOTIC label; short
names keep the tables readable.

The rules are written, not measured: they say nothing about what people feel.
"""

from typing import Final

from mien.labels import EMOTIC

__all__ = [
    "BY_APPRAISAL",
    "BY_CUE",
    "BY_EXPRESSION_AND_CUE",
    "DIMENSIONS_BY_APPRAISAL",
    "DIMENSIONS_BY_CUE",
    "LABEL_BIAS",
]

# What an expression means, given an appraisal of the situation.
_APPRAISALS: Final = {
    "gain": {
        "smiling": "Happ 2.4 Plea 1.9 Exci .8",
        "crying": "Happ 1.6 Sens 1.2 Surp .6",
        "scowling": "Doub 1.2 Disa .9",
        "gaping": "Surp 1.6 Exci 1.5 Happ .9",
        "blank": "Disc 1.1 Peac .6 Doub .5",
        "drowsy": "Peac 1.1 Plea 1 Fati .6",
    },
    "loss": {
        "smiling": "Symp 1.3 Peac .7 Este .6",
        "crying": "Sadn 2.5 Suff 1.8 Sens .7",
        "scowling": "Ange 1.1 Suff 1.1 Disa .8",
        "gaping": "Disq 1.5 Sadn 1.2 Surp .6",
        "blank": "Sadn 1.7 Disc 1.1",
        "drowsy": "Sadn 1.3 Fati 1.2",
    },
    "threat": {
        "smiling": "Conf 1.6 Exci .9",
        "crying": "Fear 2.1 Disq 1 Suff .8",
        "scowling": "Disq 1 Ange .9 Aver .8",
        "gaping": "Fear 2.4 Disq 1.1 Surp .8",
        "blank": "Disq 1.8 Doub .8",
        "drowsy": "Disq .9 Fati .9",
    },
    "offense": {
        "smiling": "Emba 1.1 Disa .7 Conf .6",
        "crying": "Sens 1.6 Sadn 1 Ange .6",
        "scowling": "Ange 2 Anno 1.8 Disa 1.2",
        "gaping": "Disa 1.2 Surp .9 Anno .8",
        "blank": "Disa 1.1 Disc 1 Anno .6",
        "drowsy": "Anno .9 Fati .9",
    },
    "success": {
        "smiling": "Conf 1.9 Este 1.5 Happ 1.3",
        "crying": "Happ 1.6 Este 1.3 Exci .8",
        "scowling": "Enga 1.1 Conf 1",
        "gaping": "Surp 1.5 Exci 1.3 Este .6",
        "blank": "Este 1 Conf .9 Disc .5",
        "drowsy": "Fati 1.3 Peac .9",
    },
    "failure": {
        "smiling": "Emba 1.7 Sens .6",
        "crying": "Sadn 1.4 Emba 1.2 Suff .8",
        "scowling": "Anno 1.7 Disa .9 Emba .4",
        "gaping": "Disq 1.2 Emba 1.1 Surp .6",
        "blank": "Emba 1 Disc .7 Sadn .6",
        "drowsy": "Fati 1.1 Disc .8",
    },
    "bond": {
        "smiling": "Affe 2.1 Happ .9 Plea .6",
        "crying": "Affe 1.7 Sens 1.1",
        "scowling": "Anno .8 Doub .6",
        "gaping": "Affe .8 Surp .8",
        "blank": "Affe .7 Disc .5",
        "drowsy": "Affe 1 Peac .9",
    },
    "parting": {
        "smiling": "Affe 1.1 Year 1 Anti .6",
        "crying": "Year 2 Sadn 1.4",
        "scowling": "Year .8 Disa .8",
        "gaping": "Year .8 Disq .8",
        "blank": "Year 1.6 Disc .6",
        "drowsy": "Year .9 Fati .8",
    },
    "novelty": {
        "smiling": "Exci 1.4 Anti 1.1",
        "crying": "Surp 1.1 Sens .7",
        "scowling": "Doub 1.6",
        "gaping": "Surp 2.3",
        "blank": "Anti 1 Doub .7",
        "drowsy": "Disc .9",
    },
    "promise": {
        "smiling": "Anti 1.9 Exci 1.2",
        "crying": "Year 1.1 Anti .6",
        "scowling": "Anti 1 Doub .8",
        "gaping": "Anti 1.5 Exci 1",
        "blank": "Anti 1.6",
        "drowsy": "Anti .7 Fati .6",
    },
    "rest": {
        "smiling": "Peac 1.9 Plea 1.4",
        "crying": "Year .8 Sens .8",
        "scowling": "Anno .9",
        "gaping": "Surp .7",
        "blank": "Peac 1.7",
        "drowsy": "Peac 2.1 Fati .6",
    },
    "tedium": {
        "smiling": "Peac .7",
        "crying": "Sadn .7",
        "scowling": "Anno 1.8",
        "gaping": "Disc .7",
        "blank": "Disc 2.1",
        "drowsy": "Disc 1.7 Fati 1.7",
    },
    "effort": {
        "smiling": "Enga 1.9 Conf .8",
        "crying": "Suff 1 Fati .8",
        "scowling": "Enga 1.7 Doub .8",
        "gaping": "Enga 1 Disq .7",
        "blank": "Enga 2.1",
        "drowsy": "Fati 2.1",
    },
    "pain": {
        "smiling": "Conf .7 Pain .6",
        "crying": "Pain 2.2 Suff 1.7",
        "scowling": "Pain 1.8 Anno .7",
        "gaping": "Pain 1.4 Fear .9",
        "blank": "Pain 1 Disc .6",
        "drowsy": "Pain 1.2 Fati 1.2",
    },
    "disgust": {
        "smiling": "Emba .8 Aver .5",
        "crying": "Aver .9 Suff .6",
        "scowling": "Aver 2.2",
        "gaping": "Aver 1.4 Surp .6",
        "blank": "Aver 1.1",
        "drowsy": "Aver .6",
    },
    "honor": {
        "smiling": "Este 1.9",
        "crying": "Este 1.3 Sens .7",
        "scowling": "Disa .9",
        "gaping": "Este .8 Surp .6",
        "blank": "Este 1.5",
        "drowsy": "Fati .7 Este .4",
    },
}

# What an expression adds in any situation, and a cue with any expression.
_CUES: Final = {
    "expression smiling": "Happ .9 Plea .4",
    "expression crying": "Sadn .8 Suff .5 Sens .3",
    "expression scowling": "Anno .8 Disa .5",
    "expression gaping": "Surp .9 Disq .3",
    "expression blank": "Disc .5",
    "expression drowsy": "Fati 1",
    "pose raised": "Exci .7 Enga .3",
    "pose crossed": "Disa .6 Disc .4",
    "pose hips": "Conf .9",
    "pose pointing": "Enga .8 Anti .3",
    "pose head": "Disq .8 Doub .6",
    "pose hanging": "Disc .4",
    "gaze viewer": "Conf .5 Enga .4",
    "gaze neighbor": "Affe .6 Enga .5",
    "gaze item": "Enga .7 Anti .4",
    "gaze aside": "Disc .7 Year .5",
    "gaze down": "Sadn .5 Emba .6",
    "turn toward": "Affe .5 Enga .4",
    "turn away": "Disc .7 Disa .4",
    "tilt tilted": "Symp .6 Doub .5",
    "tilt bowed": "Sadn .6 Fati .4",
    "sign tears": "Sens .7 Suff .5",
    "sign sweat": "Fati .6 Disq .5 Pain .3",
    "sign blush": "Emba .9 Sens .3",
    "age child": "Sens .4 Exci .4",
    "age old": "Peac .4 Fati .4",
    "closeness close": "Affe .5 Symp .3",
    "closeness apart": "Disc .4",
    "closeness alone": "Disc .3 Year .4 Peac .3",
    "light dusk": "Peac .3 Year .3",
    "light night": "Fear .4 Fati .3",
    "weather rain": "Anno .4 Sadn .3",
    "weather snow": "Exci .3 Plea .3",
    "role accompanied": "Enga .4",
    "role comforted": "Sens 1.4 Affe .8 Sadn .6 Suff .4",
    "role comforting": "Symp 2.4 Affe 1.1 Este .3 Enga .4",
    "role shouted_at": "Emba 1.6 Sens 1 Fear .7 Disq .6",
    "role shouting": "Ange 1.9 Anno 1.3 Disa .8 Conf .4",
    "role cheering": "Exci 1.1 Happ .8 Enga .8 Este .5",
    # The faces of the others.
    "others smiling": "Happ .5 Affe .3",
    "others crying": "Symp .7 Sadn .5",
    "others scowling": "Fear .4 Emba .5",
    "others gaping": "Surp .5 Disq .4",
    "others blank": "Disc .3",
    "others drowsy": "Fati .3 Peac .2",
}
# What a cue adds to one expression.
_EXPRESSIONS_AND_CUES: Final = {
    "smiling": {
        "strength 3": "Exci .9 Happ .6",
        "pose raised": "Happ .5",
        "pose crossed": "Conf .8",
        "gaze down": "Plea .5",
        "gaze neighbor": "Happ .4",
        "sign tears": "Happ .8",
        "sign blush": "Affe .7",
        "tilt bowed": "Este .5",
    },
    "crying": {
        "strength 3": "Suff .9 Pain .7",
        "pose head": "Suff .7",
        "gaze neighbor": "Sens .6",
        "gaze aside": "Year .5",
        "sign blush": "Emba .4",
    },
    "scowling": {
        "strength 3": "Ange 1.2 Aver .4",
        "pose raised": "Ange .9",
        "pose pointing": "Ange .8",
        "pose crossed": "Disa .6",
        "gaze neighbor": "Anno .7",
        "gaze item": "Aver .6",
        "sign blush": "Ange .7",
    },
    "gaping": {
        "strength 3": "Surp .8 Fear .6",
        "pose head": "Disq .5",
        "gaze item": "Surp .5",
        "gaze aside": "Fear .6",
        "sign sweat": "Fear .8",
    },
    "blank": {
        "pose hips": "Anti .4",
        "pose crossed": "Doub .5",
        "gaze viewer": "Conf .3",
        "gaze item": "Doub .4",
        "sign tears": "Sadn .8",
        "tilt bowed": "Fati .4",
    },
    "drowsy": {
        "pose head": "Pain .8",
        "tilt tilted": "Peac .5",
        "sign sweat": "Pain .5",
        "pose hanging": "Fati .4",
    },
}

# Valence, arousal, dominance on EMOTIC's scale of 1 to 10, as offsets from the middle.
DIMENSIONS_BY_APPRAISAL: Final = {
    "gain": (1.2, 0.4, 0.3),
    "loss": (-1.3, -0.3, -0.7),
    "threat": (-0.9, 1.0, -0.9),
    "offense": (-1.0, 0.7, 0.1),
    "success": (1.1, 0.6, 1.1),
    "failure": (-0.9, 0.3, -0.9),
    "bond": (0.8, 0.1, 0.2),
    "parting": (-0.5, 0.0, -0.4),
    "novelty": (0.1, 0.8, -0.2),
    "promise": (0.6, 0.6, 0.2),
    "rest": (0.8, -0.9, 0.4),
    "tedium": (-0.5, -0.8, -0.2),
    "effort": (0.0, 0.4, 0.2),
    "pain": (-1.2, 0.4, -0.9),
    "disgust": (-1.0, 0.3, 0.1),
    "honor": (0.5, 0.1, 0.2),
}
DIMENSIONS_BY_CUE: Final = {
    "expression smiling": (1.8, 0.4, 0.7),
    "expression crying": (-1.6, 0.5, -1.3),
    "expression scowling": (-1.4, 1.0, 0.9),
    "expression gaping": (-0.2, 1.6, -0.7),
    "expression blank": (-0.2, -1.0, 0.0),
    "expression drowsy": (0.0, -2.0, -0.6),
    "strength 1": (0.0, -0.6, 0.0),
    "strength 3": (0.0, 0.9, 0.1),
    "pose raised": (0.3, 0.9, 0.5),
    "pose crossed": (-0.3, -0.2, 0.5),
    "pose hips": (0.0, 0.1, 0.9),
    "pose pointing": (0.0, 0.3, 0.4),
    "pose head": (-0.5, 0.4, -0.7),
    "pose hanging": (0.0, -0.4, -0.3),
    "gaze viewer": (0.1, 0.1, 0.4),
    "gaze neighbor": (0.2, 0.1, 0.1),
    "gaze aside": (-0.2, -0.2, -0.2),
    "gaze down": (-0.3, -0.3, -0.5),
    "turn toward": (0.2, 0.1, 0.0),
    "turn away": (-0.3, 0.0, -0.1),
    "tilt bowed": (-0.3, -0.2, -0.5),
    "sign tears": (-0.3, 0.2, -0.3),
    "sign sweat": (-0.3, 0.4, -0.3),
    "sign blush": (-0.1, 0.2, -0.4),
    "age child": (0.1, 0.3, -0.6),
    "age old": (0.0, -0.4, 0.0),
    "closeness close": (0.2, 0.0, 0.0),
    "light night": (-0.2, 0.0, -0.2),
    "weather rain": (-0.3, 0.0, -0.1),
    "weather snow": (0.2, 0.1, 0.0),
    "role comforted": (-0.3, 0.0, -1.0),
    "role comforting": (0.3, 0.0, 0.7),
    "role shouted_at": (-1.0, 0.7, -1.5),
    "role shouting": (-0.8, 1.4, 1.5),
    "role cheering": (0.7, 0.9, 0.3),
    "others smiling": (0.3, 0.1, 0.1),
    "others crying": (-0.3, 0.1, 0.0),
    "others scowling": (-0.3, 0.2, -0.2),
}

# Annotators' habits, which a VLM cannot know: some labels are ticked readily, others reluctantly.
LABEL_BIAS: Final = {
    "Engagement": 0.9,
    "Anticipation": 0.6,
    "Confidence": 0.5,
    "Excitement": 0.4,
    "Happiness": 0.4,
    "Pain": -0.6,
    "Embarrassment": -0.6,
    "Aversion": -0.2,
    "Sensitivity": -0.6,
    "Suffering": -0.4,
    "Fear": -0.4,
    "Anger": -0.5,
    "Sympathy": -0.3,
    "Surprise": -0.3,
    "Yearning": -0.4,
    "Sadness": -0.2,
}


def _parse(text: str) -> dict[str, float]:
    """The weights in text such as "Happ 3 Plea 2.4", by label."""
    parts = text.split()
    return {_full_name(name): float(score) for name, score in zip(parts[::2], parts[1::2], strict=True)}


def _full_name(start: str) -> str:
    (name,) = (label for label in EMOTIC.labels if label.startswith(start))
    return name


BY_APPRAISAL: Final = {
    appraisal: {expression: _parse(text) for expression, text in row.items()}
    for appraisal, row in _APPRAISALS.items()
}
BY_CUE: Final = {cue: _parse(text) for cue, text in _CUES.items()}
BY_EXPRESSION_AND_CUE: Final = {
    expression: {cue: _parse(text) for cue, text in row.items()}
    for expression, row in _EXPRESSIONS_AND_CUES.items()
}
