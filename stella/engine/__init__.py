"""stella-engine: the background work of the cloud level. Many processes run, one leads (`stella.engine.leader`)."""
