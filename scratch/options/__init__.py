"""Options: their declarations, the presets, and the checks that are made from the declarations."""
