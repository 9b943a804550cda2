"""What compiled functions call at run time: completion, objects, events and errors."""
