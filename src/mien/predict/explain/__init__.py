"""Why a person has this score: where the model looked, which words and regions matter, and what if."""
