"""OpenStack as the engine uses it: Nova says which instances exist, Placement keeps what each host has to guarantee."""
