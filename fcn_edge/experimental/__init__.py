"""Methods that showed no gain on our networks: kept to be tried, imported by nothing else, changed without notice."""
