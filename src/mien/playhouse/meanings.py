"""The tables of the play: what a face means at a place, and what pose, company and strength add to it.

In: nothing. Out: text such as "Happ 3 Plea 2.4", emotions with weights. Knows nothing about how they add up
(see `rules`).
"""

# Short names keep the table readable; each is the beginning of one EMOTIC label.
MEANING = {
    "party": {
        "smiling": "Happ 3 Plea 2.4 Exci 1.8 Enga 1.6 Affe 1",
        "crying": "Sadn 2 Happ 1.4 Affe 2 Sens 1.8 Surp 1.2",
        "scowling": "Anno 2.8 Disa 2.2 Aver 1.4 Ange 1.2",
        "gaping": "Surp 3 Exci 2.6 Happ 1.8 Anti 1.6",
        "blank": "Disc 2.6 Doub 1.2 Emba 1.4 Year 1",
        "drowsy": "Fati 2.8 Disc 1.8 Peac 1.4",
    },
    "funeral": {
        "smiling": "Symp 2.4 Peac 2 Este 1.8 Affe 1.6",
        "crying": "Sadn 3.4 Suff 2.8 Year 2.2 Pain 1.2 Sens 1.4",
        "scowling": "Ange 2.2 Suff 1.8 Disa 1.6 Aver 1.2",
        "gaping": "Disq 2.4 Sadn 2 Fear 1.4 Surp 1.2",
        "blank": "Sadn 2.2 Disc 2 Este 1.6 Year 1.2",
        "drowsy": "Fati 2 Sadn 1.8 Peac 1.6 Suff 1.2",
    },
    "stadium": {
        "smiling": "Exci 3 Happ 2.6 Enga 2.4 Anti 1.8 Conf 1.4",
        "crying": "Exci 2 Happ 1.8 Sadn 1.6 Sens 1.4 Este 1.4",
        "scowling": "Anno 2.4 Disa 2.6 Ange 1.8 Enga 2",
        "gaping": "Anti 2.6 Surp 2.4 Exci 2.2 Enga 2",
        "blank": "Enga 2.2 Anti 1.8 Disc 1",
        "drowsy": "Disc 2.6 Fati 2.2",
    },
    "exam": {
        "smiling": "Conf 3 Enga 2.4 Plea 1.4 Anti 1.2",
        "crying": "Disq 2.6 Suff 1.8 Emba 1.8 Sadn 1.6 Fear 1.2",
        "scowling": "Doub 2.6 Enga 2.4 Anno 1.8",
        "gaping": "Fear 2 Disq 2.8 Surp 1.8 Doub 1.4",
        "blank": "Enga 2.6 Doub 2 Anti 1.4",
        "drowsy": "Fati 3 Disc 2.4",
    },
    "hospital": {
        "smiling": "Peac 2.2 Happ 1.8 Conf 1.4 Affe 1.6",
        "crying": "Pain 3 Suff 2.8 Sadn 2.2 Fear 1.2 Sens 1.2",
        "scowling": "Pain 2.4 Anno 2 Suff 1.4 Disq 1.2",
        "gaping": "Fear 2.6 Pain 2 Disq 2.2 Surp 1.4",
        "blank": "Disq 2.2 Disc 1.8 Anti 1.4 Fati 1.2",
        "drowsy": "Fati 2.8 Pain 1.6 Peac 1.2 Suff 1.2",
    },
    "beach": {
        "smiling": "Plea 3 Happ 2.6 Peac 2.2 Enga 1.2",
        "crying": "Sadn 2 Year 2.4 Sens 1.8",
        "scowling": "Anno 2.4 Aver 1.8 Disa 1.2",
        "gaping": "Surp 2.4 Exci 2.4 Anti 1.8 Plea 1.4",
        "blank": "Peac 2.4 Disc 1.8 Year 1.4",
        "drowsy": "Peac 3 Plea 2 Fati 1.4",
    },
    "forest": {
        "smiling": "Conf 2.6 Exci 2.2 Enga 1.6 Anti 1.4",
        "crying": "Fear 3 Suff 2 Sens 1.6 Disq 1.6",
        "scowling": "Ange 1.8 Aver 2.6 Conf 1.8 Disq 1.2",
        "gaping": "Fear 3.4 Surp 2.4 Disq 2.2",
        "blank": "Disq 2.4 Doub 1.8 Enga 1.4",
        "drowsy": "Disc 2.4 Fati 2 Doub 1",
    },
    "award": {
        "smiling": "Happ 2.8 Conf 2.6 Este 2.4 Plea 1.6",
        "crying": "Happ 2.8 Este 2.4 Surp 1.8 Sens 1.6 Exci 2",
        "scowling": "Disa 2.6 Year 2.2 Anno 1.8",
        "gaping": "Surp 3.2 Exci 2.4 Happ 2 Este 1.4",
        "blank": "Este 1.6 Anti 2 Emba 1.8 Disc 1.2",
        "drowsy": "Disc 2.4 Fati 2",
    },
    "kitchen": {
        "smiling": "Symp 1.6 Emba 2.2 Conf 1.4 Doub 1.2",
        "crying": "Sadn 2.6 Sens 2.6 Suff 2 Pain 1",
        "scowling": "Ange 3.2 Anno 2.6 Disa 2.2 Aver 1.4",
        "gaping": "Surp 2.2 Disq 2.4 Fear 2 Emba 1.2",
        "blank": "Disc 2 Disq 1.8 Aver 1.2",
        "drowsy": "Fati 2.4 Disc 2 Sens 1",
    },
    "home": {
        "smiling": "Peac 2.4 Happ 2.2 Affe 2.2 Plea 1.6",
        "crying": "Sadn 2.8 Year 2 Sens 2 Suff 1.2",
        "scowling": "Anno 2.6 Disa 1.6 Doub 1.2",
        "gaping": "Surp 2.4 Doub 1.6 Anti 1.6 Disq 1.2",
        "blank": "Disc 2.4 Peac 2 Doub 1",
        "drowsy": "Fati 2.6 Peac 2.4",
    },
    "station": {
        "smiling": "Anti 3 Happ 2 Affe 1.6 Exci 1.4",
        "crying": "Year 3 Sadn 2.6 Affe 2 Sens 1.4",
        "scowling": "Anno 3 Disq 1.6 Anti 1.6",
        "gaping": "Surp 2.4 Disq 2 Anti 1.8 Exci 1",
        "blank": "Anti 2.4 Disc 2.2 Year 1.4",
        "drowsy": "Fati 3 Disc 1.8 Anti 1",
    },
    "street": {
        "smiling": "Happ 2 Conf 1.8 Peac 1.4 Enga 1.2",
        "crying": "Sadn 2.6 Suff 2.2 Sens 1.8 Year 1.2",
        "scowling": "Anno 2.6 Aver 2.2 Ange 1.2",
        "gaping": "Surp 2.4 Fear 1.8 Disq 2",
        "blank": "Disc 2.6 Sadn 1.2 Doub 1",
        "drowsy": "Fati 2.4 Sadn 1.4 Disc 1.4",
    },
}

# What a pose adds by itself ("any"), and what it adds to one face.
POSTURE = {
    "raised": {
        "any": "Exci 1 Enga .4",
        "smiling": "Exci .8 Happ .5",
        "scowling": "Ange 1.4",
        "gaping": "Fear .6 Surp .6",
    },
    "crossed": {
        "any": "Disa .8 Disc .4",
        "smiling": "Conf 1.2 Este .6",
        "scowling": "Disa 1",
        "blank": "Doub .6",
    },
    "hips": {"any": "Conf 1.2", "scowling": "Anno 1 Disa .5", "smiling": "Este .6", "blank": "Anti .5"},
    "pointing": {"any": "Enga 1.2 Anti .4", "scowling": "Ange 1.2", "gaping": "Surp .6 Fear .4"},
    "head": {
        "any": "Disq 1 Doub .8",
        "crying": "Suff 1.2 Pain .6",
        "gaping": "Disq .6 Fear .4",
        "drowsy": "Pain 1",
    },
    "hanging": {"any": "Disc .6", "crying": "Sens .8 Sadn .4", "drowsy": "Fati .6", "smiling": "Peac .8"},
}

COMPANY = {
    "alone": "Disc .4 Year .4 Peac .3",
    "accompanied": "Enga .5",
    "comforted": "Sens 1.8 Affe 1 Sadn .8 Suff .4",
    "comforting": "Symp 3 Affe 1.4 Este .4 Enga .5",
    "shouted_at": "Emba 2 Sens 1.2 Fear .8 Disq .8",
    "shouting": "Ange 2.4 Anno 1.6 Disa 1 Conf .5",
    "cheering": "Exci 1.4 Happ 1 Enga 1 Este .6 Anti .4",
}

# What only a strong expression adds: the words of the play seldom mention it, the picture always shows it.
STRONG = {
    "smiling": "Exci .8 Plea .6",
    "crying": "Suff .9 Pain .6",
    "scowling": "Ange 1.2",
    "gaping": "Fear .7 Surp .6",
}
