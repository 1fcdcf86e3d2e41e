"""How people read it: names, quantities and refusals, in the language of the user."""
